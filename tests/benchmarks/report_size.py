"""The report of many videos: how large the file is, and how soon a browser shows its table and its charts.

    python tests/benchmarks/report_size.py [--clips 5000] [--runs 5] [--many]

Draws people on noise for pictures, so that they are as large as real ones; --many: 50,000 videos of three clips too.
Needs Playwright and Chromium. Goals for 5,000 clips: under 25 MB, and usable in under 2 s.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from small_report import somebody

from poseact.clips import ClipLabel, LabelScore
from poseact.records import LabelledVideo, Moment
from poseact.report import write_report
from poseact.skeleton import COCO17

LABELS = [f"action_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
SIZE = (240, 135)  # W, H of a picture
# Pictures are drawn once and used again, since drawing 150,000 would take longer than all else.
DRAWN = 400


def draw_pictures(random: np.random.Generator) -> list[bytes]:
    """Somebody in front of blurred noise, with fine grain: as WebP about 3 KB, as pictures of real videos are."""
    pictures = []
    for _ in range(DRAWN):
        width, height = SIZE
        coarse = random.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        image = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += random.integers(-10, 11, image.shape, dtype=np.int16)
        image = np.clip(image, 0, 255).astype(np.uint8)
        points = [(round(x * width), round(y * height)) for x, y, _ in somebody(1).keypoints]
        for a, b in COCO17.limbs:
            cv2.line(image, points[a], points[b], (60, 40, 90), 9, cv2.LINE_AA)
        written = BytesIO()
        Image.fromarray(image).save(written, "WEBP", quality=45)
        pictures.append(written.getvalue())
    return pictures


def make_videos(n_videos: int, n_clips: int, pictures: list[bytes]) -> Iterator[LabelledVideo]:
    """Videos of clips of two seconds, one a second, each with a moment."""
    random = np.random.default_rng(1)
    for number in range(n_videos):
        path = Path(f"/data/videos/day_{number // 100:03d}/camera_{number % 100:02d}.mp4")
        clips, moments = [], []
        for i in range(n_clips):
            shares = np.sort(random.dirichlet(np.full(5, 0.4)))[::-1]
            names = random.choice(LABELS, 5, replace=False)
            top = tuple(LabelScore(str(name), float(share)) for name, share in zip(names, shares, strict=True))
            label = top[0].label if top[0].score > 0.4 else None
            clips.append(ClipLabel(str(path), i, i, i + 2, None, label, top[0].score, top, 2))
            people = (somebody(1, 0.1), somebody(2, -0.2))
            moments.append(Moment(i + 1.0, people, pictures[random.integers(DRAWN)]))
        name = path.relative_to("/data/videos").as_posix()
        yield LabelledVideo(name, path, n_clips + 1.0, (1080, 1920), COCO17.name, tuple(clips), tuple(moments))


MARKS = """() => Object.fromEntries(['poseact-table', 'poseact-pictures', 'poseact-charts'].map(
  (name) => [name.slice(8), performance.getEntriesByName(name)[0].startTime / 1000]))"""


def open_report(browser: Browser, report: Path) -> dict[str, float]:
    """Seconds from navigation until the table, its pictures and the charts were there."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(report.as_uri())
    page.wait_for_selector("#charts[aria-busy=false]", timeout=60_000)
    found = page.evaluate(MARKS)
    page.close()
    return found


def measure(n_videos: int, n_clips: int, pictures: list[bytes], runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        started = time.perf_counter()
        write_report(make_videos(n_videos, n_clips, pictures), [], report, title="Benchmark")
        seconds = time.perf_counter() - started
        print(f"{n_videos:,} videos, {n_videos * n_clips:,} clips: {report.stat().st_size / 1e6:.1f} MB", end="")
        print(f", made in {seconds:.1f} s, the making of its videos included")
        executable = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("needs Chromium")
        with sync_playwright() as driver:
            found = []
            for _ in range(runs):  # a browser each, so that none has anything in its caches
                browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
                found.append(open_report(browser, report))
                browser.close()
        for name in found[0]:
            times = [each[name] for each in found]
            print(f"  {name}: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f}, {runs} runs)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--many", action="store_true", help="50,000 videos too")
    options = parser.parse_args()
    pictures = draw_pictures(np.random.default_rng(0))
    print(f"pictures of {statistics.mean(map(len, pictures)) / 1000:.2f} kB")
    measure(options.clips // 10, 10, pictures, options.runs)
    if options.many:
        measure(50_000, 3, pictures, options.runs)


if __name__ == "__main__":
    main()
