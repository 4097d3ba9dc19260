"""The stages of the pipeline. This file runs before any other module of theirs and before any library is loaded."""

from stages.common import arithmetic, interrupts, surroundings

interrupts.end_loading_at_once()
surroundings.drop_settings()
arithmetic.set_up()
