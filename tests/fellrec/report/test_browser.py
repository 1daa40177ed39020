"""The report of a real run in a real browser, as wide as a phone and as a desk."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.run_folder import RunFolder
from fellrec.report.page import report
from fellrec.report.record import Record
from tests.federation import broken, federate, tiny_settings
from tests.fellrec.report.browser import DESK, PHONE, browsing, needs_browser

OPENED = """(() => { for (const details of document.querySelectorAll("details")) details.open = true;
 return document.querySelectorAll("details[open] table").length; })()"""


@pytest.mark.slow
@needs_browser
def test_the_report_fits_and_neither_complains_nor_asks_for_anything(fellrec_home: Path, tmp_path: Path) -> None:
    federate(tiny_settings(fellrec_home, run_name="one"), faults={("toy-1", 2): broken})
    file = tmp_path / "report.html"
    file.write_text(report(Record.read(RunFolder.find("one"))), encoding="utf-8")
    (tmp_path / "browser").mkdir()
    with browsing(tmp_path / "browser") as browser:
        for width in (PHONE, DESK):
            browser.open(file.as_uri(), width)
            assert browser.value("innerWidth") == width and "toy-1" in browser.value("document.body.innerText")
            assert browser.value("document.querySelectorAll('svg').length") > 5
            browser.fits()
            assert browser.value(OPENED) > 5
            browser.fits()
        assert browser.complaints == [] and set(browser.asked) == {file.as_uri()}
