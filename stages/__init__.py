"""The stages of the pipeline. What stands here runs before any other of their modules and any library is loaded."""

from stages.common import arithmetic, interrupts, surroundings

interrupts.end_loading_at_once()
surroundings.drop_settings()
arithmetic.set_up()
