"""The report of a run: one HTML file to look at what videos show, how sure that is, and to correct it.

`contents` gathers what the page knows, `moments` the pictures that fit into it, `page` writes it; the rest, beside the
template, runs in the browser: `page.js` starts it, and each other script holds one thing of the page.
"""

from .page import write_report

__all__ = ["write_report"]
