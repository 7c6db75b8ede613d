"""The report in a real browser, as a user opens it: from the disk, without a network."""

import csv
import io
import re
import shutil
from pathlib import Path

import pytest
import small_report as small

from poseact.records import FailedVideo
from poseact.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright, which drives the browser")

BROWSERS = ("chromium", "google-chrome", "chromium-browser")
HOSTILE = "</script><img src=x onerror=window.hacked=1>'\".mp4"


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser: {' or '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def videos(draw_video, tmp_path):
    """Squats of ten seconds that are at their place; two people, without pictures; one whose name is hostile."""
    place = tmp_path / "videos" / "a b"
    place.mkdir(parents=True)
    squats = [small.clip(i, "squat", 0.9 - 0.05 * i) for i in range(7)]
    unsure = [small.clip(7, None, 0.2), small.clip(8, None, None)]
    pair = [small.clip(i, label, 0.85, person=p) for i in range(0, 6, 2) for p, label in ((3, "run"), (5, "clap"))]
    return [
        small.video("a b/squats.mp4", [*squats, *unsure], path=draw_video(place / "squats.mp4", 250), people=(1, 2)),
        small.video("pair.mp4", pair, path=tmp_path / "pair.mp4", people=(3, 5), with_pictures=False),
        small.video(HOSTILE, [small.clip(0, HOSTILE, 0.5)], path=tmp_path / "gone.mp4"),
    ]


@pytest.fixture
def show(browser, tmp_path, videos):
    """show(videos=..., failed=(), **context): the page, opened from the disk; fails if the browser complains about
    anything, or if the page asks for more than itself and the video."""
    opened, complaints, asked = [], [], []

    def open_page(shown=videos, failed=(), **options):
        output = tmp_path / "out" / "report.html"
        output.parent.mkdir(exist_ok=True)
        write_report(shown, failed, output, title="A run <of> videos")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.set_default_timeout(6000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(output.as_uri())
        page.wait_for_selector("#charts[aria-busy=false]")
        return page

    yield open_page
    for context in opened:
        context.close()
    assert not [said for said in complaints if "ERR_FILE_NOT_FOUND" not in said]
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


def shown(page):
    return page.locator("#shown").inner_text()


def names(page):
    return page.locator("#rows .link").all_inner_texts()


def hover(page, number, share):
    """Point at a share of the length of the timeline of a row."""
    box = page.locator("#rows .timeline .lanes").nth(number).bounding_box()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 4)


def click_on(page, bar):
    """Plotly listens above its bars."""
    box = bar.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_it_shows_what_there_is(show):
    page = show(failed=[FailedVideo("broken.mp4", "broken.mp4", 2, "broken.mp4 is no video")])
    assert page.title() == "A run <of> videos"
    assert names(page) == ["a b/squats.mp4", "pair.mp4", HOSTILE]
    assert shown(page) == "3 videos, 16 clip labels"
    row = page.locator("#rows tr").first
    assert "squat 75" in row.inner_text()
    assert row.locator(".picture img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    assert row.locator(".picture svg g").count() == 2
    assert page.locator("#chart-labels .point").count() == 6
    page.click("#tab-failures")
    assert "broken.mp4 is no video" in page.locator("#failures").inner_text()


def test_nothing_hostile_runs(show):
    page = show()
    page.locator("#rows .link", has_text="onerror").click()
    page.keyboard.press("Escape")
    page.click("#tab-review")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("[...document.images].every((image) => image.src.startsWith('data:image/webp'))")


def test_it_filters(show):
    page = show()
    page.click("#filter-labels summary")
    page.get_by_label("run").check()
    assert names(page) == ["pair.mp4"]
    assert shown(page) == "1 of 3 videos, 3 of 16 clip labels"
    page.get_by_label("squat").check()
    assert len(names(page)) == 2
    page.click("#filter-reset")
    assert shown(page) == "3 videos, 16 clip labels"
    page.select_option("#filter-person", "5")
    assert shown(page) == "1 of 3 videos, 3 of 16 clip labels"
    page.click("#filter-reset")
    page.fill("#filter-high", "60")
    page.keyboard.press("Tab")
    assert shown(page) == "2 of 3 videos, 2 of 16 clip labels"
    page.click("#filter-reset")
    page.fill("#filter-text", "PAIR")
    page.wait_for_function("() => document.querySelectorAll('#rows .link').length === 1")
    page.fill("#filter-text", "nothing like that")
    page.wait_for_selector("#rows .empty")


def test_a_click_on_a_bar_filters(show):
    page = show()
    bars = page.locator("#chart-labels .point")
    click_on(page, bars.last)  # the commonest label's
    assert names(page) == ["a b/squats.mp4"]
    click_on(page, bars.last)
    assert len(names(page)) == 3
    heights = page.locator("#chart-scores .point path").evaluate_all("all => all.map((e) => e.getBBox().height)")
    click_on(page, page.locator("#chart-scores .point").nth(heights.index(max(heights))))
    assert shown(page).endswith("7 of 16 clip labels")
    assert page.input_value("#filter-low") == "85"


def test_a_timeline_shows_the_moment_under_the_pointer(show):
    page = show()
    hover(page, 0, 0.48)
    peek = page.locator("#peek")
    assert "squat" in peek.inner_text()
    assert "0:04.0 to 0:06.0" in peek.inner_text()
    assert peek.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    assert peek.locator("svg path").count() == 6
    hover(page, 1, 0.1)
    assert peek.locator("img").count() == 0, "it has no pictures"
    assert peek.locator("svg g").count() == 2
    assert peek.locator("svg g.other").count() == 1
    page.mouse.move(5, 5)
    assert peek.is_hidden()


def test_a_click_plays_from_there(show):
    page = show()
    hover(page, 0, 0.5)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#viewer video')?.currentTime > 5.01")
    assert page.evaluate("document.querySelector('#viewer video').currentTime") < 7
    page.get_by_role("button", name="Show the picture with skeletons").click()
    assert page.locator("#viewer .stage .figure svg g").count() == 2


def test_a_video_that_is_gone_is_told_with_its_path(show, tmp_path):
    page = show()
    page.locator("#rows .link").nth(1).click()
    page.get_by_role("button", name="Play from").click()
    page.get_by_role("alert").wait_for()
    assert "no longer at its place" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Path of the video").input_value() == str(tmp_path / "pair.mp4")


def test_it_can_be_used_by_keys_alone(show):
    page = show()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "slider":
            break
    timeline = page.locator("#rows .timeline").first
    assert page.locator("#peek").is_visible()
    page.keyboard.press("ArrowRight")
    assert timeline.get_attribute("aria-valuetext").startswith("0:01.0 to 0:03.0: squat, 85")
    page.keyboard.press("End")
    assert "nobody found" in timeline.get_attribute("aria-valuetext")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#viewer video')?.currentTime > 0.01")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('role')") == "slider", "back where it was"
    page.keyboard.press("c")
    page.keyboard.type("jump")
    page.keyboard.press("Enter")
    assert "You say: jump" in page.locator("#viewer .verdict").inner_text()
    assert page.locator("#viewer .seg.corrected").count() == 1


def test_a_viewer_that_is_opened_again_at_once_is_not_emptied(show):
    page = show()
    page.evaluate("""() => {
        const timeline = document.querySelector("#rows .timeline");
        const press = () => timeline.dispatchEvent(new KeyboardEvent("keydown", { key: "c", bubbles: true }));
        timeline.focus();
        press();
        document.querySelector("#viewer").close();
        press();
    }""")
    page.wait_for_timeout(100)
    assert page.locator("#viewer .side").is_visible()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('#viewer').children.length")


def download(page):
    with page.expect_download() as caught:
        page.click("#download")
    return list(csv.reader(io.StringIO(caught.value.path().read_bytes().decode(), newline="")))


def test_corrections_are_kept_and_downloaded(show, videos):
    page = show()
    page.click("#tab-review")
    card = page.locator(".review-card")
    assert "unsure" in card.inner_text(), "the least certain one"
    card.get_by_label("It shows", exact=True).fill('a "new", one')
    page.keyboard.press("Enter")
    assert HOSTILE in card.inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("y")
    page.keyboard.press("1")
    nowhere = ["", "", ""]
    rows = [
        ["video", "start", "end", "label", "x", "y", "at"],
        [str(videos[0].path), "5", "7", "squat", *nowhere],
        [str(videos[0].path), "6", "8", "squat", *nowhere],
        [str(videos[0].path), "7", "9", 'a "new", one', *nowhere],
    ]
    assert download(page) == rows
    page.reload()
    page.wait_for_selector("#charts[aria-busy=false]")
    assert download(page) == rows
    assert page.locator("#known-labels option[value='a \"new\", one']").count() == 1
    page.click("#tab-corrections")
    page.locator("#corrections").get_by_role("button", name="Remove").first.click()
    assert len(download(page)) == 3


def test_it_is_light_or_dark(show):
    page = show(color_scheme="dark")

    def is_dark():
        colours = page.evaluate(
            "[getComputedStyle(document.documentElement).backgroundColor,"
            "getComputedStyle(document.querySelector('#chart-labels .ytick text')).fill]"
        )
        ground, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        assert abs(ground - ink) > 400, "the chart's text can be read"
        return ground < 200

    assert is_dark()
    page.select_option("#theme", "light")
    assert not is_dark()
    page.reload()
    page.wait_for_selector("#charts[aria-busy=false]")
    assert not is_dark()


CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = rgba(getComputedStyle(element).backgroundColor);
      if (colour[3] === 255) return colour;
    }
  };
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest('svg, script, :disabled')) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(element.outerHTML.slice(0, 80));
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_written_can_be_read_and_what_is_pressed_has_a_name(show, scheme):
    page = show(color_scheme=scheme)
    for view in ("videos", "review", "corrections", "failures"):
        page.click(f"#tab-{view}")
        page.mouse.move(5, 5)
        assert page.evaluate(CONTRASTS) == []
        snapshot = page.locator("body").aria_snapshot()
        nameless = [
            line
            for line in snapshot.splitlines()
            if re.match(
                r"\s*- '?(button|textbox|searchbox|combobox|spinbutton|slider|checkbox|tab|link)\b(?! \")", line
            )
        ]
        assert nameless == []
    assert page.locator("#rows .timeline").count() == 3


def test_a_phone_needs_no_sideways_scrolling(show):
    name = "of_a_long_name" * 6 + ".mp4"
    long = small.video(name, [small.clip(0, "run", 0.5)])
    page = show(
        [long], [FailedVideo(name, Path("/videos") / name, 2, "it is broken")], viewport={"width": 360, "height": 800}
    )
    page.click("#tab-review")
    page.get_by_role("button", name="The label is right").click()
    for view in ("videos", "review", "corrections", "failures"):
        page.click(f"#tab-{view}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view


def test_the_keys_of_the_review_act_once_it_is_clicked_and_with_caps_lock(show):
    page = show()
    page.click("#tab-review")
    page.keyboard.press("ArrowRight")
    assert page.locator("#review .place").inner_text().startswith("2 of")
    page.keyboard.press("Shift+Y")
    assert page.locator("#corrections-count").inner_text() == "1"


def test_a_correction_says_where_its_person_is_as_far_as_anybody_knows(show):
    clips = [small.clip(0, "run", 0.4, person=2), small.clip(1, "run", 0.9, person=3)]
    page = show([small.video("pair.mp4", clips, people=(1, 2))])
    page.click("#tab-review")
    page.keyboard.press("y")
    page.click("#tab-corrections")
    assert "most prominent person" not in page.locator("#corrections").inner_text()
    page.click("#tab-review")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("y")
    page.click("#tab-corrections")
    assert "most prominent person" in page.locator("#corrections").inner_text()
    first, second = (row[1:] for row in download(page)[1:])
    assert first[:3] == ["0", "2", "run"]
    assert [float(value) for value in first[3:]] == pytest.approx([0.7, 0.465, 1.0], abs=0.002)
    assert second == ["1", "3", "run", "", "", ""]


def test_many_videos_come_in_pages_and_are_sorted(show):
    many = [small.video(f"clip{i}.mp4", [small.clip(0, "run", i / 200)], with_pictures=False) for i in range(120)]
    page = show(many)
    assert page.locator("#rows tr").count() == 50
    page.get_by_role("button", name="Next").click()
    assert names(page)[0] == "clip50.mp4"
    assert "51–100 of 120" in page.locator("#pager").inner_text()
    page.get_by_role("button", name="Least score").click()
    assert names(page)[0] == "clip0.mp4"
    page.get_by_role("button", name="Least score").click()
    assert names(page)[0] == "clip119.mp4"
    assert page.locator("th[data-sort=score]").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Name").click()
    assert names(page)[:3] == ["clip0.mp4", "clip1.mp4", "clip2.mp4"]


def test_a_run_of_nothing_is_told(show):
    page = show([])
    assert "No video is done yet" in page.locator("#rows").inner_text()
    page.click("#tab-review")
    page.click("#tab-failures")
    assert "Every video could be labelled" in page.locator("#failures").inner_text()
