"""Every relative link of every Markdown file leads to a file of the project, and to a heading that is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.defaults import ROOT

ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)  # https:, mailto:
IN_HTML = re.compile(r"""\b(?:href|src)=["']([^"']+)""")


@pytest.fixture(scope="module")
def files() -> set[str]:
    """What a clone has, or will have once what is new is committed: a link to any other file would be broken there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("which files are the project's only Git knows, and this is no Git repository")
    return {name for name in done.stdout.split("\0") if (ROOT / name).is_file()}


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt().enable("table").parse(text):
        yield token
        yield from token.children or ()


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead to, in HTML too; none of what stands in code."""
    found: list[str] = []
    for token in tokens(text):
        found += [str(token.attrs[name]) for name in ("href", "src") if name in token.attrs]
        found += IN_HTML.findall(token.content) if token.type in ("html_block", "html_inline") else []
    return found


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    names: list[str] = []
    for block, inline in pairwise(MarkdownIt().parse(text)):
        if block.type == "heading_open":
            heading = "".join(each.content for each in inline.children or () if each.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            names.append(name if name not in names else f"{name}-{names.count(name)}")
    return set(names)


def problem(page: str, link: str, files: set[str]) -> str | None:
    """Why ``link`` in ``page`` leads nowhere; None where it leads somewhere, or out of the project by an address."""
    if ELSEWHERE.match(link):
        return None
    target, _, anchor = unquote(link).partition("#")
    path = (ROOT / page).parent.joinpath(target).resolve() if target else ROOT / page
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else None
    if name not in files and not any(file.startswith(f"{name}/") for file in files):
        return f"{page}: {link} leads to no file of the project"
    if anchor and (path.suffix != ".md" or anchor not in anchors(path.read_text())):
        return f"{page}: {link} leads to no heading of {name}"
    return None


def test_every_relative_link_of_every_page_leads_to_a_file_and_a_heading_of_the_project(files: set[str]) -> None:
    pages = [name for name in sorted(files) if name.endswith(".md")]
    assert "README.md" in pages
    problems = [problem(page, link, files) for page in pages for link in links((ROOT / page).read_text())]
    assert [each for each in problems if each] == []


def test_a_link_that_is_called_like_a_module_leads_to_it(files: set[str]) -> None:
    for page in (name for name in files if name.endswith(".md")):
        for text, target in re.findall(r"\[`([\w/.]+\.py)`\]\(([^)]*)\)", (ROOT / page).read_text()):
            assert target.endswith(text), f"{page}: [{text}]({target})"


def test_every_page_is_linked_from_the_readme(files: set[str]) -> None:
    linked = {link.partition("#")[0] for link in links((ROOT / "README.md").read_text())}
    pages = {name for name in files if re.fullmatch(r"docs/.*\.md|[A-Z]+\.md", name)} - {"README.md"}
    assert pages - linked == set()


@pytest.mark.parametrize(
    "link",
    [
        "docs/absent.md",
        "../outside.md",
        "models/.nothing",
        "#absent-heading",
        "docs/metrics.md#absent-heading",
        "Makefile#repro",
    ],
)
def test_a_broken_link_is_found(link: str, files: set[str]) -> None:
    assert problem("README.md", link, files)


def test_links_are_those_of_text_pictures_references_and_html_and_none_of_code() -> None:
    page = (
        "[a](a.md 'title') ![b](b.png) [![c](c.png)](c.md#part) [`d`](d.md) [e] <img src='f.png'> `[no](no.md)`\n\n"
        "| table |\n|---|\n| [g](g.md) |\n\n```\n[no](no.md)\n```\n\n[e]: e.md\n"
    )
    found = ["a.md", "b.png", "c.md#part", "c.png", "d.md", "e.md", "f.png", "g.md"]
    assert links(page) == found


def test_the_names_of_headings_are_githubs() -> None:
    page = "# Is 72.29 % the *number*?\n\n## What `verify` checks\n\n```\n# no heading\n```\n\n## Same\n\n## Same\n"
    assert anchors(page) == {"is-7229--the-number", "what-verify-checks", "same", "same-1"}
