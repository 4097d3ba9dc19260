"""Who the workers are, by the environment variables that TensorFlow, SLURM and Kubernetes use."""

from __future__ import annotations

import json

import pytest

from stages.common.console import UserError
from stages.model.cluster import Cluster, from_kubernetes, from_slurm, from_tf_config

# The forms are those of the manual page of srun; this is the third of five tasks on three machines.
SLURM = {
    "SLURM_JOB_ID": "412345",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NODELIST": "node[08-10]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
}


def tf_config(workers: object, index: object, kind: str = "worker") -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": {kind: workers}, "task": {"type": kind, "index": index}})}


def test_tf_config_names_the_workers() -> None:
    assert from_tf_config(tf_config(["one:2222", "two:2222"], 1)) == Cluster(("one:2222", "two:2222"), 1)
    assert from_tf_config(tf_config(["[fe80::1]:22", "two:22"], "0")) == Cluster(("[fe80::1]:22", "two:22"), 0)


def test_without_tf_config_a_process_is_alone() -> None:
    assert from_tf_config({}) is None
    assert from_tf_config({"TF_CONFIG": ""}) is None


def test_one_worker_is_a_cluster_without_others() -> None:
    slurm = {"SLURM_STEP_NODELIST": "n1", "SLURM_STEP_TASKS_PER_NODE": "1", "SLURM_STEP_NUM_TASKS": "1"}
    for cluster in (
        from_tf_config(tf_config(["one:2222"], 0)),
        from_slurm(SLURM | slurm | {"SLURM_PROCID": "0"}),
        from_kubernetes({"JOB_COMPLETION_INDEX": "0", "WORKERS": "train-0.train"}),
    ):
        assert cluster is not None
        assert (cluster.index, cluster.others) == (0, [])


def test_a_cluster_written_as_tf_config_is_read_as_the_same() -> None:
    cluster = Cluster(("one:2222", "two:2222", "three:2222"), 2)
    assert from_tf_config({"TF_CONFIG": cluster.as_tf_config()}) == cluster


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG should be like"),
        ({"TF_CONFIG": "[]"}, "TF_CONFIG should be like"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, "TF_CONFIG should be like"),
        (tf_config(["a:1", "b:1"], 0, kind="ps"), "TF_CONFIG should be like"),
        (tf_config(["a:1", 2], 0), "TF_CONFIG should be like"),
        (tf_config("a:1,b:2", 0), "TF_CONFIG should be like"),
        (tf_config(["a:1", "b:1"], 1.7), "TF_CONFIG should be like"),
        (tf_config(["a:1", "b:1"], True), "TF_CONFIG should be like"),
        (tf_config(["a:1", "b:1"], 2), "there are 2 workers, numbered from 0; this one can't be 2"),
        (tf_config(["a", "b:1"], 0), "should be host:port, port 1 to 65535; it is a"),
        (tf_config(["a:70000", "b:1"], 0), "port 1 to 65535; it is a:70000"),
        (tf_config(["a:1", "b:0"], 0), "port 1 to 65535; it is b:0"),
        (tf_config(["a:1", "a:1"], 0), "two workers have one address"),
    ],
)
def test_a_tf_config_of_another_form_is_an_error_of_one_line(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as error:
        from_tf_config(environment)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_tasks_of_a_job_step_of_slurm_are_workers_with_ports_of_the_job() -> None:
    hosts = ("node08:16900", "node08:16901", "node09:16900", "node09:16901", "node10:16900")
    assert from_slurm(SLURM) == Cluster(hosts, 2)


def test_the_next_job_of_slurm_on_the_same_machines_has_other_ports() -> None:
    job, following = from_slurm(SLURM), from_slurm(SLURM | {"SLURM_JOB_ID": "412346"})
    assert job is not None
    assert following is not None
    assert not set(job.addresses) & set(following.addresses)


@pytest.mark.parametrize(
    ("nodes", "hosts"),
    [
        ("alone", ["alone"]),
        ("a,b-1,c.d", ["a", "b-1", "c.d"]),
        ("gpu[1,3-5],cpu[098-101]", ["gpu1", "gpu3", "gpu4", "gpu5", "cpu098", "cpu099", "cpu100", "cpu101"]),
        ("rack[1-2]n[1-2]-ib", ["rack1n1-ib", "rack1n2-ib", "rack2n1-ib", "rack2n2-ib"]),
    ],
)
def test_a_list_of_machines_is_read_as_slurm_means_it(nodes: str, hosts: list[str]) -> None:
    tasks = {"SLURM_STEP_TASKS_PER_NODE": f"2(x{len(hosts)})", "SLURM_STEP_NUM_TASKS": str(2 * len(hosts))}
    cluster = from_slurm(SLURM | tasks | {"SLURM_STEP_NODELIST": nodes, "SLURM_PROCID": "0"})
    assert cluster is not None
    assert [cluster.endpoint(index)[0] for index in range(0, 2 * len(hosts), 2)] == hosts


def test_the_variables_that_a_user_has_printed_name_four_workers_of_one_machine() -> None:
    """Of ``srun -N1 -n4``, from TheHPXProject/hpx#692 on GitHub."""
    printed = {
        "SLURM_JOB_ID": "901593",
        "SLURM_PROCID": "1",
        "SLURM_STEP_NODELIST": "t-cn0117",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_TASKS_PER_NODE": "4",
    }
    assert from_slurm(printed) == Cluster(tuple(f"t-cn0117:{21860 + task}" for task in range(4)), 1)


def test_a_batch_script_of_slurm_is_no_worker() -> None:
    assert from_slurm({}) is None
    assert from_slurm({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) is None


@pytest.mark.parametrize("missing", sorted(set(SLURM) - {"SLURM_STEP_NUM_TASKS"}))
def test_variables_of_slurm_that_are_missing_or_do_not_fit_are_an_error(missing: str) -> None:
    with pytest.raises(UserError, match=rf"don't tell the tasks of this step \('{missing}'\)"):
        from_slurm({name: value for name, value in SLURM.items() if name != missing})
    with pytest.raises(UserError, match="don't tell the tasks of this step"):
        from_slurm(SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2"})


def test_an_index_of_a_pod_that_is_no_number_is_an_error() -> None:
    with pytest.raises(UserError, match="JOB_COMPLETION_INDEX should be the number of this pod, from 0; it is ''"):
        from_kubernetes({"JOB_COMPLETION_INDEX": "", "WORKERS": "a,b"})


def test_the_pods_of_an_indexed_job_are_workers_if_their_hosts_are_listed() -> None:
    pods = {"JOB_COMPLETION_INDEX": "1", "WORKERS": "train-0.train, train-1.train,train-2.train:99"}
    addresses = ("train-0.train:2222", "train-1.train:2222", "train-2.train:99")
    assert from_kubernetes(pods) == Cluster(addresses, 1)
    assert from_kubernetes({"JOB_COMPLETION_INDEX": "1"}) is None
