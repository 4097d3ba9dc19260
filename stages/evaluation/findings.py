"""Findings in sentences, like those that the notebook's author wrote below the plots, by rules with thresholds.

Each sentence can be understood without the plots. If there is nothing to report, it says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common.files import written_by
from stages.common.rounding import number, percent
from stages.evaluation.settings import Test, Validate
from stages.model.history import Epoch, Training

if TYPE_CHECKING:  # the report, which only reads sentences, does not load scikit-learn
    from stages.evaluation.scores import Scores

MOST_NAMED = 10  # classes in one sentence
DIGITS = 9  # of a difference: in floating point 0.54 - 0.5 is more than 0.04


def on_training(training: Training, images: int, rules: Validate) -> list[str]:
    """Sentences about a training: overfitting, where it stopped improving, the best epoch, the end, the rate.

    Args:
        images: of the validation split; if they are few, a sentence warns of chance.
    """
    return [
        _overfitting(training.epochs, rules.overfitting_gap),
        _end_of_progress_of_loss(training.epochs, rules.loss_improvement),
        _end_of_progress_of_accuracy(training.epochs, rules.accuracy_improvement),
        _best_epoch(training, rules.accuracy_improvement),
        _end(training),
        _learning_rate(training),
        *_chance(images, rules.overfitting_gap),
    ]


def on_test(scores: Scores, rules: Test) -> list[str]:
    """Sentences about the scores: which classes are confused or stand out, and whether the averages mislead."""
    return [
        *_classes_without_images(scores),
        *_never_predicted(scores),
        *_confused_pairs(scores, rules.confused_pairs),
        *_classes_beside_the_average(scores, rules.class_margin),
        *_extreme_areas(scores, rules.auc_classes),
        _balance(scores, rules.balance_ratio),
    ]


def as_markdown(title: str, sentences: Sequence[str]) -> str:
    """A heading and a list; escapes characters of class names that have a meaning in Markdown or HTML."""
    escape = str.maketrans({character: f"\\{character}" for character in "\\`*[]<>&"})
    return f"# {title}\n\n" + "".join(f"- {sentence.translate(escape)}\n" for sentence in sentences)


def load(path: Path, stage: str) -> list[str]:
    """The sentences that ``stage`` wrote with :func:`as_markdown`.

    Raises:
        UserError: the file is missing or is no such list.
    """
    with written_by(stage, path):
        items = path.read_text(encoding="utf-8").split("\n")[2:-1]
        if not items or not all(item.startswith("- ") for item in items):
            raise ValueError("it is no list of findings")
        return [re.sub(r"\\(.)", r"\1", item.removeprefix("- ")) for item in items]


# ---- on a training ----


def _overfitting(epochs: Sequence[Epoch], least_gap: float) -> str:
    """Overfitting begins after the last epoch whose training accuracy was not far above its validation accuracy."""
    gaps = [each.accuracy - each.val_accuracy for each in epochs]
    healthy = [each.epoch for each, gap in zip(epochs, gaps, strict=True) if round(gap, DIGITS) <= least_gap]
    points = _points(least_gap)
    if healthy and healthy[-1] == epochs[-1].epoch:
        return f"The model does not overfit: the training accuracy ends no more than {points} above the validation's."
    when = f"begins overfitting after epoch {healthy[-1]}" if healthy else "overfits from the first epoch"
    return (
        f"The model {when}: from then on the training accuracy stays more than {points} above the validation "
        f"accuracy, in the end {number(gaps[-1] * 100, 1)}."
    )


def _end_of_progress_of_loss(epochs: Sequence[Epoch], least_share: float) -> str:
    """A loss has improved if it is lower than the last improved one by ``least_share`` of that."""
    last = epochs[0]
    for each in epochs[1:]:
        if each.val_loss <= last.val_loss * (1 - least_share):
            last = each
    training_goes_on = epochs[-1].loss <= last.loss * (1 - least_share)
    return _end_of_progress("loss", epochs, last, f"{least_share * 100:g} %", training_goes_on)


def _end_of_progress_of_accuracy(epochs: Sequence[Epoch], least_step: float) -> str:
    """An accuracy has improved if it is higher than the last improved one by ``least_step``."""
    last = epochs[0]
    for each in epochs[1:]:
        if round(each.val_accuracy - last.val_accuracy, DIGITS) >= least_step:
            last = each
    training_goes_on = round(epochs[-1].accuracy - last.accuracy, DIGITS) >= least_step
    return _end_of_progress("accuracy", epochs, last, _points(least_step), training_goes_on)


def _end_of_progress(what: str, epochs: Sequence[Epoch], last: Epoch, least: str, training_goes_on: bool) -> str:
    if len(epochs) == 1:
        return f"One epoch alone does not show whether the validation {what} improves."
    if last is epochs[-1]:
        return f"The validation {what} was still improving by {least} or more when training ended."
    contrast = f", while the training {what} keeps improving" if training_goes_on else ""
    return (
        f"The validation {what} stops improving significantly (by {least} or more) after epoch {last.epoch}{contrast}."
    )


def _best_epoch(training: Training, least_step: float) -> str:
    """The epoch that was kept, and one with a clearly higher validation accuracy if there is one."""
    best = training.epochs[training.best_epoch - 1]
    highest = max(training.epochs, key=lambda each: each.val_accuracy)
    missed = round(highest.val_accuracy - best.val_accuracy, DIGITS) >= least_step
    aside = (
        f"; epoch {highest.epoch} had the higher validation accuracy of {percent(highest.val_accuracy)}"
        if missed
        else ""
    )
    return (
        f"The best model is that of epoch {best.epoch} (validation loss {number(best.val_loss, 4)}, validation "
        f"accuracy {percent(best.val_accuracy)}); it is the one that is saved{aside}."
    )


def _end(training: Training) -> str:
    run = len(training.epochs)
    if not training.stopped_early:
        return f"Training stopped after epoch {run}, its limit."
    since_best = run - training.best_epoch
    reason = f"no better model in {_count(since_best, 'epoch')}" if since_best else "improvements too small to count"
    return f"Training stopped after epoch {run} because of early stopping: {reason}."


def _learning_rate(training: Training) -> str:
    drops, first, last = training.learning_rate_drops, training.epochs[0], training.epochs[-1]
    if drops is None:
        highest = max(training.epochs, key=lambda each: each.learning_rate)
        return (
            "The learning rate followed its schedule. In the middle of an epoch it was "
            f"{first.learning_rate:.2g} in the first, {highest.learning_rate:.2g} in epoch {highest.epoch}, the "
            f"highest, and {last.learning_rate:.2g} in the last."
        )
    if not drops:
        return f"The learning rate never dropped; it was {first.learning_rate:g} throughout."
    seen = drops[0] < last.epoch
    rates = f", from {first.learning_rate:g} in the first epoch to {last.learning_rate:g} in the last" if seen else ""
    at_the_end = "; the last drop came as training ended" if drops[-1] == last.epoch else ""
    return f"The learning rate dropped after {_epochs(drops)}{rates}{at_the_end}."


# ---- on a test ----


def _classes_without_images(scores: Scores) -> list[str]:
    absent = [each.name for each in scores.classes if not each.support]
    return (
        [f"Without images in the split, so without figures, and in no average: {_shortened(absent)}."] if absent else []
    )


def _never_predicted(scores: Scores) -> list[str]:
    names = [
        each.name
        for each, images in zip(scores.classes, scores.confusion.sum(axis=0), strict=True)
        if each.support and not images
    ]
    return [f"Never predicted, so with a recall and an F1 of 0: {_shortened(names)}."] if names else []


def _confused_pairs(scores: Scores, most: int) -> list[str]:
    """The pairs of classes that are confused most often, counting both directions."""
    names, confusion = scores.class_names, scores.confusion
    pairs = [
        (int(confusion[i, j] + confusion[j, i]), i, j) for i in range(len(names)) for j in range(i + 1, len(names))
    ]
    confused = sorted((pair for pair in pairs if pair[0] > 0), key=lambda pair: -pair[0])
    if not confused:
        return ["No image is classified wrongly."]
    sentences = [
        f"{'Most often confused' if rank == 0 else 'Then'}: {names[i]} and {names[j]}, {_count(total, 'image')} "
        f"({confusion[i, j]} of {names[i]} taken for {names[j]}, {confusion[j, i]} the other way round)."
        for rank, (total, i, j) in enumerate(confused[:most])
    ]
    if ties := sum(total == confused[most - 1][0] for total, _, _ in confused[most:]):
        sentences.append(
            f"{_count(ties, 'more pair')} {'is' if ties == 1 else 'are'} confused as often as the last one."
        )
    return sentences


def _classes_beside_the_average(scores: Scores, margin: float) -> list[str]:
    """Classes whose F1 is further than ``margin`` from macro F1, the furthest first."""
    f1 = [(each.name, each.f1) for each in scores.classes if each.f1 is not None]
    below = sorted((pair for pair in f1 if pair[1] < scores.f1_macro - margin), key=lambda pair: pair[1])
    above = sorted((pair for pair in f1 if pair[1] > scores.f1_macro + margin), key=lambda pair: -pair[1])
    average = f"the average F1 of {number(scores.f1_macro, 3)} by more than {margin:g}"
    return [
        f"{side} {average}: {_shortened([f'{name} ({number(value, 3)})' for name, value in classes])}."
        for side, classes in (("Below", below), ("Above", above))
    ]


def _extreme_areas(scores: Scores, most: int) -> list[str]:
    """The classes with the highest and the lowest AUC, at most half of all on either side."""
    defined = sorted(
        ((each.name, each.auc) for each in scores.classes if each.auc is not None), key=lambda pair: -pair[1]
    )
    undefined = [each.name for each in scores.classes if each.auc is None]
    sentences = []
    if defined and number(defined[0][1], 3) == number(defined[-1][1], 3):
        every = "every class that has one" if undefined else "every class"
        sentences.append(f"The AUC (area under the ROC curve) is {number(defined[0][1], 3)} for {every}.")
    elif defined:
        count = min(most, len(defined) // 2)
        best = defined[:count]
        # Without those that are as good as the best, in the digits shown.
        worst = [pair for pair in defined[::-1][:count] if number(pair[1], 3) != number(best[0][1], 3)]
        sentences += [
            f"{rank} AUC (area under the ROC curve): {_list([f'{name} ({number(area, 3)})' for name, area in some])}."
            for rank, some in (("Best", best), ("Worst", worst))
        ]
    if undefined:
        sentences.append(f"AUC is undefined without images of the class and of others: {_shortened(undefined)}.")
    return sentences


def _balance(scores: Scores, highest_ratio: float) -> str:
    """Whether the classes have similar numbers of images, so that macro averages represent the images."""
    sizes = [each.support for each in scores.classes if each.support]
    fewest, most = min(sizes), max(sizes)
    if most <= highest_ratio * fewest:
        sizes_text = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        each_class = "each class" if len(sizes) == len(scores.classes) else "each class that has any"
        images = "image" if most == 1 else "images"
        return f"The split is balanced ({sizes_text} {images} of {each_class}), so the macro average is a good metric."
    return (
        f"The split is not balanced ({fewest:,} to {most:,} images of a class): macro averages count a rare class as "
        "much as a common one, weighted averages follow the common ones; read both."
    )


# ---- words ----


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _shortened(words: Sequence[str]) -> str:
    """The first words and how many more there are; nobody would read a sentence of fifty classes."""
    if not words:
        return "no class"
    rest = len(words) - MOST_NAMED
    return _list(words) if rest <= 0 else f"{', '.join(words[:MOST_NAMED])} and {rest} more"


def _epochs(numbers: Sequence[int]) -> str:
    return f"{'epoch' if len(numbers) == 1 else 'epochs'} {_list([str(number) for number in numbers])}"


def _chance(images: int, least_gap: float) -> list[str]:
    """A warning if the 95 % interval of an accuracy, at its widest, reaches further than a gap that is reported."""
    reach = 1.96 * math.sqrt(0.25 / images)  # the normal one, of an accuracy of 50 %
    if reach <= least_gap:
        return []
    return [
        f"The validation split has {_count(images, 'image')} only, so chance alone moves its accuracy by up to "
        f"{reach * 100:.0f} points (95 %), and what is said of it here may be chance."
    ]


def _points(share: float) -> str:
    return f"{share * 100:g} {'point' if share == 0.01 else 'points'}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
