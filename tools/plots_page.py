"""Let DVC's plots draw without a network: a page template that carries Vega's scripts, and the setting that names it.

    python -m tools.plots_page

DVC's own page loads Vega, Vega-Lite and Vega-Embed from a content delivery network. After this command
``dvc plots show`` and ``dvc plots diff`` fill the same page with the scripts inside it. The template is made from
the installed packages and the setting is for this clone alone (``.dvc/config.local``): neither is in Git.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import vl_convert
from dvc_render.html import PAGE_HTML  # type: ignore[import-untyped]

from stages.common import files
from stages.common.console import run_stage

TEMPLATE = Path(".dvc/plots_page.html")
VEGA_LITE = "5.21"  # of the versions that vl-convert carries, the last one with the major version of DVC's templates

# DVC sets the pictures of all revisions in one row, of which a window shows the first. Here they share its width.
STYLE = """
        body { font-family: sans-serif; }
        body > div { vertical-align: top; }
        div:has(> div > img) { display: flex; flex-wrap: wrap; }
        div:has(> div > img) > p { width: 100%; }
        div:has(> img) { flex: 1 1 480px; }
        img { max-width: 100%; }
"""


def plots_page() -> None:
    files.write_text(TEMPLATE, page_with_scripts())
    # DVC looks for the file from .dvc on.
    subprocess.run(["dvc", "config", "--local", "plots.html_template", TEMPLATE.name], check=True)


def page_with_scripts() -> str:
    """DVC's page with the scripts and the style written into it; the places that DVC fills with plots are kept."""
    scripts = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    # The scripts hold characters beyond ASCII, and a file has no header that tells their encoding.
    head = f'<meta charset="utf-8">\n    <script>{scripts}</script>\n    <style>{STYLE}    </style>'
    page: str = PAGE_HTML.replace("{scripts}", head)
    return page


if __name__ == "__main__":
    run_stage("plots_page", plots_page)
