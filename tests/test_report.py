"""The report's Python side: what the page is given, what fits into it, and that nothing breaks out of it."""

import json
import os
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest
import small_report as small
from hypothesis import given
from hypothesis import strategies as st

from poseact.cli.report import report as report_command
from poseact.errors import InputError, OutputError
from poseact.records import FailedVideo, Moment, PersonAtMoment
from poseact.report import page, write_report
from poseact.report.contents import Contents
from poseact.report.moments import moment_spool, packed, thin_out
from poseact.run_store import RunStore
from poseact.sources import SourceVideo

HOSTILE = '</script><img src=x onerror="window.hacked=1">\'&amp;\u2028{{ 7*7 }}'


class Reader(HTMLParser):
    """The tags of a page, its texts outside of scripts, and those within, by id or class."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.scripts, self._inside = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._inside = dict(attributes).get("id") or dict(attributes).get("class", tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside = None

    def handle_data(self, text):
        if self._inside is None:
            self.texts.append(text)
        else:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + text

    @property
    def data(self):
        return json.loads(self.scripts["data"])


@pytest.fixture
def read(tmp_path, monkeypatch):
    """read(videos, failed=(), title="A run"): the page as a `Reader`, without Plotly's megabytes."""
    monkeypatch.setattr(page, "_packed_plotly", lambda: "")

    def write(videos, failed=(), title="A run", output=None):
        output = output or tmp_path / "report.html"
        write_report(iter(videos), failed, output, title=title)
        return Reader(output.read_text(encoding="utf-8"))

    return write


def test_clips_become_columns_of_numbers_and_each_label_is_there_once(read):
    clips = [small.clip(0, "squat", 0.8765), small.clip(2.5, None, 0.3), small.clip(5, None, None)]
    data = read([small.video("a/b.mp4", clips), small.video("c.mp4", [small.clip(0, "squat", 0.5, person=7)])]).data
    assert data["labels"] == ["squat", "stand", "run"]
    assert data["videos"]["name"] == ["a/b.mp4", "c.mp4"]
    assert data["videos"]["seconds"] == [7000, 2000]
    assert data["videos"]["rows"] == [3, 1]
    rows = data["rows"]
    assert rows["start"] == [0, 2500, 5000, 0]
    assert rows["length"] == [2000] * 4
    assert rows["label"] == [0, -1, -1, 0]
    assert rows["score"] == [876, 300, -1, 500]
    assert rows["person"] == [-1, -1, -1, 7]
    assert rows["tops"] == [2, 2, 0, 2]
    assert rows["top"][:4] == [0, 876, 1, 124]


def test_what_is_hardly_likely_is_left_out(read):
    data = read([small.video("a.mp4", [small.clip(0, "squat", 0.996)])]).data
    assert data["rows"]["tops"] == [1]


def test_a_keypoint_is_three_bytes():
    person = PersonAtMoment(1, ((1.0, 0.0, 1.0), (0.5, 2.0, 0.5), (float("nan"), 0.3, 0.0)))
    first, second, third = (int.from_bytes(packed(person)[i : i + 3], "big") for i in (0, 3, 6))
    assert (first >> 14, first >> 4 & 1023, first & 15) == (1023, 0, 15)
    assert (second >> 14, second >> 4 & 1023, second & 15) == (512, 1023, 8)
    assert third == 0


def test_pictures_and_people_come_one_after_the_other(read):
    videos = [small.video("a.mp4", [small.clip(0, "squat", 0.9), small.clip(2, "run", 0.9)], people=(4, 9))]
    videos.append(small.video("b.mp4", [small.clip(0, "run", 0.9)], with_pictures=False))
    found = read(videos)
    moments = found.data["moments"]
    assert moments["time"] == [1000, 3000, 1000]
    assert moments["people"] == [2, 2, 1]
    assert moments["ids"] == [4, 9, 4, 9, 1]
    assert moments["picture"][2] == 0
    assert sum(moments["picture"]) == len(found.scripts["pictures"])
    second = b64decode(found.scripts["pictures"][moments["picture"][0] :])
    assert second == videos[0].moments[1].picture
    assert len(found.scripts["people"]) == 5 * 17 * 4


@pytest.mark.parametrize(
    ("sizes", "ranks", "budget", "kept"),
    [
        ([2, 2, 2, 2], [1, 0, 1, 1], 8, [True] * 4),
        ([2, 2, 2, 2], [1, 0, 1, 1], 2, [False, True, False, False]),
        ([0, 2, 0, 2], [0, 0, 0, 0], 9, [False, True, False, True]),
        ([1] * 6, [0] * 6, 3, [False, True] * 3),
        ([5], [0], 4, [False]),
        ([], [], 4, []),
    ],
)
def test_what_fits_is_kept_evenly_the_lowest_rank_first(sizes, ranks, budget, kept):
    assert thin_out(sizes, ranks, budget) == kept


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2))), st.integers(0, 500))
def test_what_is_kept_never_costs_more_than_there_is_room(things, budget):
    sizes, ranks = [size for size, _ in things], [rank for _, rank in things]
    kept = thin_out(sizes, ranks, budget)
    assert sum(size for size, wanted in zip(sizes, kept, strict=True) if wanted) <= budget
    if sum(sizes) <= budget:
        assert kept == [size > 0 for size in sizes]


def test_too_many_pictures_are_thinned_out_but_those_for_review_stay(monkeypatch, tmp_path):
    monkeypatch.setattr("poseact.report.contents._FOR_REVIEW", 1)
    monkeypatch.setattr("poseact.report.contents._PICTURES_LEAST", 4 * 2000)
    monkeypatch.setattr("poseact.report.contents._PICTURES_EACH", 0)
    clips = tuple(small.clip(2 * i, "run", 0.1 if i == 8 else 0.9) for i in range(9))
    plain = small.video("a.mp4", clips, with_pictures=False)
    heavy = tuple(Moment(moment.time, moment.people, bytes(1500)) for moment in plain.moments)
    with moment_spool() as spool:
        contents = Contents(tmp_path, spool)
        contents.add(small.LabelledVideo("a.mp4", Path("a.mp4"), 18.0, (54, 96), "coco17", clips, heavy))
        pictures, people = contents.choose_moments()
        assert sum(pictures) == 4
        assert pictures[8], "the least certain clip's"
        assert pictures[4], "the one in the middle, which stands for the video"
        assert people == pictures
        data = contents.as_dict(pictures, people)
    assert data["pictures"] == {"taken": 9, "kept": 4}
    assert data["videos"]["moments"] == [4]


def test_a_report_of_5000_clips_stays_small(tmp_path):
    videos = []
    for number in range(500):
        plain = small.video(f"{number}.mp4", [small.clip(i, "run", 0.9) for i in range(10)], with_pictures=False)
        moments = tuple(Moment(m.time, m.people, os.urandom(3500)) for m in plain.moments)
        videos.append(small.LabelledVideo(plain.name, plain.path, 11.0, (54, 96), "coco17", plain.labels, moments))
    write_report(videos, [], tmp_path / "report.html", title="Many")
    assert 15e6 < (tmp_path / "report.html").stat().st_size < 25e6


@pytest.mark.parametrize(
    ("path", "name", "address"),
    [
        ("/data/videos/a/b.mp4", "a/b.mp4", "../../data/videos/"),
        ("/data/vid eos/b#1.mp4", "b#1.mp4", "../../data/vid%20eos/"),
        ("/runs/out/b.mp4", "out/b.mp4", "../"),
        ("/data/b.mp4", "other.mp4", "../../data/"),
        ("/data/xb.mp4", "b.mp4", "../../data/"),
    ],
)
def test_a_video_is_found_from_where_the_page_is(path, name, address):
    with moment_spool() as spool:
        contents = Contents(Path("/runs/out"), spool)
        contents.add(small.video(name, [small.clip(0, "run", 0.5)], path=Path(path)))
        data = contents.as_dict([False], [False])
    ((place, found),) = data["places"]
    assert place + (data["videos"]["file"][0] or name) == path
    assert found == address


def test_nothing_from_outside_becomes_markup(read):
    hostile = small.video(HOSTILE, [small.clip(0, HOSTILE, 0.5)], path=Path("/videos") / HOSTILE)
    failed = [FailedVideo(HOSTILE, Path(HOSTILE), 2, HOSTILE)]
    found = read([hostile], failed, title=HOSTILE)
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert found.data["labels"][0] == HOSTILE
    assert found.data["videos"]["name"] == [HOSTILE]
    assert "\u2028" not in found.scripts["data"]
    assert "<" not in found.scripts["data"]
    assert [text for text in found.texts if text == HOSTILE], "shown as it is"


def test_a_name_that_is_no_text_does_no_harm(read):
    name = os.fsdecode(b"caf\xe9.mp4")
    found = read([small.video(name, [small.clip(0, "run", 0.5)])], [FailedVideo(name, Path(name), 1, name)])
    assert found.data["videos"]["name"] == [name]
    assert "caf?.mp4" in found.texts


def test_the_page_asks_nothing_of_a_network(read):
    found = read([small.video("a.mp4", [small.clip(0, "run", 0.5)])])
    addresses = [attributes[name] for _, attributes in found.tags for name in ("src", "href") if name in attributes]
    assert addresses == ["data:,", "#main"]
    (policy,) = [a["content"] for tag, a in found.tags if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none';")


def test_each_script_beside_the_template_is_in_the_page(read):
    beside = {path.stem for path in Path(page.__file__).parent.glob("*.js")}
    assert beside == set(page._SCRIPTS)


def test_a_run_of_nothing_is_a_page_too(read):
    assert read([]).data["videos"]["name"] == []


def test_a_page_that_is_made_again_keeps_its_name(read, tmp_path):
    one, again = read([], title="A"), read([], title="B")
    other = read([], output=tmp_path / "other.html")
    assert one.data["id"] == again.data["id"] != other.data["id"]


def test_what_goes_wrong_leaves_the_page_that_was_there(tmp_path):
    def broken():
        yield small.video("a.mp4", [small.clip(0, "run", 0.5)])
        raise InputError("the run is gone")

    output = tmp_path / "report.html"
    output.write_text("before")
    with pytest.raises(InputError, match="gone"):
        write_report(broken(), [], output, title="A")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert output.read_text() == "before"


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        write_report([], [], tmp_path / "no" / "report.html", title="A")


@pytest.fixture
def run(tmp_path):
    """A run of `poseact label` with one video that is to be done."""
    folder = tmp_path / "out"
    folder.mkdir()
    with RunStore(folder) as store:
        store.begin({}, [SourceVideo("a.mp4", tmp_path / "a.mp4")])
    return folder


def test_the_command_makes_the_page_of_a_run(run, capsys):
    labelled = small.video("a.mp4", [small.clip(0, "squat", 0.9)])
    with RunStore(run) as store:
        store.finish(labelled)
    report_command(run)
    data = Reader((run / "report.html").read_text(encoding="utf-8")).data
    assert data["labels"] == ["squat", "stand"]
    assert data["moments"]["picture"] == [len(small.picture(0)) // 3 * 4 + 4 * (len(small.picture(0)) % 3 > 0)]
    assert capsys.readouterr().out == ""


def test_the_command_says_what_is_missing(run, tmp_path):
    with pytest.raises(InputError, match="holds no run of `poseact label`"):
        report_command(tmp_path)
    with pytest.raises(InputError, match=r"nothing of the run in .* is done yet"):
        report_command(run)
    assert not (run / "report.html").exists()
