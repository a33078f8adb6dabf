"""The pages of `kinface web`, on drawn faces: what they show, what they refuse, and that nothing is kept or sent."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import kinface
import kinface.web.app
from kinface.models.examine import read_photo
from kinface.web.app import create_app, open_server
from tests.commands import run_kinface
from tests.kinface.web.conftest import EVIL, to_png
from tests.pages import text_of

ALIGNED = {"aligned": "on"}
ELSEWHERE = re.compile(r"""(?:https?:)?//[\w.]|url\(|@import""")  # an address outside of the page


def post(client, *people: list[tuple[bytes, str]], **options: str):
    """Send the photos, content and name, of each person."""
    fields = [(name, None, value.encode()) for name, value in (ALIGNED | options).items()]
    for field, person in zip(("a", "b", "child"), people, strict=False):
        fields += [(field, name, content) for content, name in person]
    return send(client, fields)


def send(client, fields: list[tuple[str, str | None, bytes]]):
    """Send a form: names, of files their file's name, and contents; in a way of our own, as the client's spools to the
    disk."""
    parts = [
        f'--next\r\nContent-Disposition: form-data; name="{field}"'.encode()
        + (b"" if name is None else f'; filename="{name}"'.encode())
        + b"\r\n\r\n"
        + content
        for field, name, content in fields
    ]
    form = b"\r\n".join([*parts, b"--next--\r\n"])
    return client.post("/secret/answer", data=form, content_type="multipart/form-data; boundary=next")


SEEN: list | None = None  # what the process writes or connects to, while a test listens


def _hear(event: str, arguments: tuple) -> None:
    if SEEN is None:
        return
    if (event == "open" and arguments[2] is not None and arguments[2] & 3) or event.startswith("socket.connect"):
        SEEN.append((event, arguments))


sys.addaudithook(_hear)


@contextmanager
def listening() -> Iterator[list]:
    global SEEN
    SEEN = heard = []
    try:
        yield heard
    finally:
        SEEN = None


# Photos


def test_an_answer_shows_score_threshold_and_errors(client, examiner, faces):
    page = post(client, [(to_png(faces[0]), "a.png")], [(to_png(faces[1]), "b.png")], group="type: mother and daughter")
    assert page.status_code == 200
    text = text_of(page.text)
    examined = examiner(*([read_photo(face, aligned=True)] for face in faces[:2]), group=("type", "md"))
    for model, answer in examined.answers.items():
        assert f"The model {model} says: {'kin' if answer['kin'] else 'not kin'}" in text
        assert f"Score {answer['score']:.3f}; threshold {answer['threshold']:.3f}" in text
        for row in examined.scores[model]:
            low, high = 100 * row["fmr_low"], 100 * row["fmr_high"]
            assert f"{100 * row['fmr']:.0f}% [{low:.0f}, {high:.0f}]" in text
    assert "mother and daughter" in text and "on the pairs of single photos on which it was chosen" in text
    assert f"age {max(0, examined.described[0]['age']):.0f}, " in text
    figures = re.findall(r'src="data:image/png;base64,iVBOR', page.text)
    assert len(figures) == 3  # each model's scores, and the faces
    assert len(re.findall(r'srcset="data:image/png;base64,iVBOR', page.text)) == 2  # the scores, for a phone
    assert "triplets" not in text


def test_a_child_has_a_score_with_each_parent_and_one_picture_is_said(client, examiner, faces):
    father, mother = ([(to_png(face), "x.png")] for face in faces[:2])
    text = text_of(post(client, father, mother, father, group="race: Asian").text)
    for (overall,) in (rows[:1] for rows in examiner.triplets.values()):
        low, high, families = 100 * overall["fmr_low"], 100 * overall["fmr_high"], overall["families"]
        assert re.search(rf"all triplets {100 * overall['fmr']:.0f}% \[{low:.0f}, {high:.0f}\] .* {families} ", text)
    assert "or on triplets of their faces" in text and "too few triplets of the chosen group to show" in text
    assert re.search(r"the mean of father and child, 1\.000, and mother and child, -?\d\.\d{3};", text)
    assert "Both are the same picture" in text
    assert "Your score is a mean over several photos" not in text
    assert "Your score is a mean over several photos" in text_of(post(client, father + mother, mother).text)


def test_the_first_page_names_groups_and_what_it_is_not_for(client, examiner):
    page = client.get("/secret/")
    assert "Do not use it for decisions about people" in text_of(page.text)
    options = re.findall("<option>(.*?)</option>", page.text)
    assert (
        len(options) == len(examiner.groups) - 1 and "race: Asian" in options and "gender pair: both female" in options
    )


def score_of(page) -> float:
    return float(re.search(r"Score (-?\d\.\d{3});", text_of(page.text))[1])


def test_another_face_is_taken_without_the_photo_and_without_script(client, examiner, faces, found_beside):
    couple = np.concatenate(list(faces[:2]), axis=1)
    form = [("a", "other.png", to_png(faces[2])), ("b", EVIL, to_png(couple)), ("b", "again.png", to_png(couple))]
    form.append(("group", None, b"race: Asian"))
    pages, wanted = [send(client, form)], {"b 0 1": (1, 0), "b 1 1": (1, 1), "b 0 0": (0, 1)}
    for take in wanted:
        kept = re.findall(r'<input type="hidden" name="(\w+)" value="(.*?)">', pages[-1].text)
        assert [name for name, _ in kept] == ["group", "a", "b", "b"]
        pages.append(
            send(client, [*((name, None, value.encode()) for name, value in kept), ("take", None, take.encode())])
        )
    for page, (first, second) in zip(pages, [(0, 0), *wanted.values()], strict=True):
        examined = examiner([read_photo(faces[2])], [read_photo(couple, face=first), read_photo(couple, face=second)])
        assert score_of(page) == round(examined.answers["shipped"]["score"], 3)
        pressed = re.findall(r'value="(b \d \d)" aria-pressed="true"', page.text)
        assert pressed == [f"b 0 {first}", f"b 1 {second}"] and "Asian" in text_of(page.text)
        assert "\u202e" not in page.text and "<img src=x" not in page.text
    assert len({score_of(page) for page in pages}) == 3  # two of these are the mean of the same two scores


def test_faces_that_no_page_of_this_server_showed_are_refused(client, examiner, faces, found_beside):
    couple = to_png(np.concatenate(list(faces[:2]), axis=1))
    page = send(client, [("a", "a.png", couple), ("b", "b.png", couple)])
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(.*?)">', page.text))
    elsewhere = create_app(examiner, "secret").test_client()
    forged = {"a": kept["a"][:99] + kept["b"][99:]}
    for server, more, told in (
        (client, {}, None),
        (elsewhere, {}, "these photos are not of a page of this server"),
        (client, forged, "these photos are not of a page of this server"),
        *(
            (client, {"take": wanted}, "no face")
            for wanted in ("a 0 2", "a 0 -1", "a 1 0", "c 0 0", "<b>", "a 0 x", "")
        ),
    ):
        page = send(server, [(name, None, value.encode()) for name, value in (kept | more).items()])
        assert page.status_code == (200 if told is None else 400)
        assert "<b>" not in page.text and (told or "Score") in text_of(page.text)


def test_who_is_alone_in_a_photo_is_not_to_be_chosen(client, faces):
    page = post(client, [(to_png(faces[0]), "a.png")], [(to_png(faces[1]), "b.png")])
    assert "<button" not in page.text and "<form" not in page.text


def test_faces_that_are_not_aligned_are_warned_of(client, monkeypatch):
    monkeypatch.setattr("swinface.photos.alignment.measure_misalignment", lambda landmarks: 40.0)
    monkeypatch.setattr("swinface.photos.alignment.SURE", 0.0)
    drawn = [to_png(face) for face in kinface.make_families(12, photos=1)[1][3:5]]
    page = post(client, *([(face, f"{EVIL}{number}")] for number, face in enumerate(drawn)))
    assert page.status_code == 200 and "faces are not aligned" in text_of(page.text)
    assert "<img src=x" not in page.text


# Hostile photos and names


def header_of_a_bomb() -> bytes:
    """A small PNG that says it has 60,000 x 60,000 pixels."""
    content = bytearray(to_png(np.zeros((8, 8, 3), np.uint8)))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a readable image"),
        (b"<script>alert(1)</script>", "not a readable image"),
        (to_png(np.full((112, 112, 3), 90, np.uint8))[:-30], "not a readable image"),
        (header_of_a_bomb(), "not a readable image|at most 200 million are read"),
        (to_png(np.zeros((112, 112, 3), np.uint8))[:8] * 1000, "not a readable image"),
    ],
    ids=["empty", "a page", "cut off", "a bomb", "repeated"],
)
def test_hostile_photos_are_refused_by_name_and_the_next_is_answered(content, told, client, faces):
    good = [(to_png(faces[0]), "good.png")]
    page = post(client, good, [(content, EVIL)])
    assert page.status_code == 400
    assert re.search(told, text_of(page.text))
    assert "<img" not in page.text and "\u202e" not in page.text and "&lt;img src=x onerror" in page.text
    assert post(client, good, good).status_code == 200


def test_hostile_names_stay_text(client, faces):
    page = post(client, [(to_png(faces[0]), EVIL)], [(to_png(faces[1]), "../../etc/passwd")])
    assert page.status_code == 200
    assert page.text.count("<img src=") == page.text.count('<img src="data:image/png;base64,') == 3
    assert "\u202e" not in page.text and "../../etc/passwd" in page.text


def test_what_is_missing_or_unknown_is_said(client, faces):
    good = [(to_png(faces[0]), "good.png")]
    for people, options, told in (
        ([good], {}, "a person has no photo"),
        ([good, good], {"group": "<b>race: Martian"}, "no scores of the group &#39;&lt;b&gt;race: Martian&#39;"),
    ):
        page = post(client, *people, **options)
        assert page.status_code == 400 and told in page.text


def test_too_much_is_refused_before_it_is_read(examiner, faces, monkeypatch):
    monkeypatch.setattr(kinface.web.app, "MOST_BYTES", 2**20)
    client = create_app(examiner, "secret").test_client()
    page = post(client, [(bytes(2**20), "a.png")], [(to_png(faces[0]), "b.png")])
    assert page.status_code == 413 and "The photos have more than 1 MB together" in page.text
    page = post(client, [(b"", "a.png")] * 1000, [(b"", "b.png")])
    assert page.status_code == 413 and "or are more than about 1,000; choose fewer" in page.text


# Nothing is kept, nothing is sent


def test_nothing_is_stored_and_nothing_is_sent(client, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 900, 900, 3), dtype=np.uint8)
    photos = [to_png(one) for one in noise]  # so large that they would be spooled to the disk
    assert min(map(len, photos)) > 2 * 2**20
    post(client, *([(photo, "warm.png")] for photo in photos))
    with listening() as heard:
        (tmp_path / "heard").write_text("")
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
            pass
    assert [event for event, _ in heard] == ["open", "socket.connect"]  # the test would hear it
    with listening() as heard:
        assert post(client, *([(photo, "photo.png")] for photo in photos)).status_code == 200
    assert heard == []


def test_pages_load_nothing_from_elsewhere_and_leave_no_copy(client, faces):
    good = [(to_png(faces[0]), "good.png")]
    pages = [client.get("/secret/"), client.get("/secret/report"), post(client, good, good), post(client, good)]
    for page in pages:
        assert page.headers["Cache-Control"] == "no-store" and "Set-Cookie" not in page.headers
        assert page.headers["Referrer-Policy"] == "no-referrer"
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; img-src data:;") and "http" not in policy and "*" not in policy
        assert not ELSEWHERE.search(re.sub(r"base64,[^\"]*", "", page.text))


def test_only_who_knows_the_secret_gets_anything(client):
    for path in ("/", "/report", "/answer", "/secrets/", "/secret", "/static/x", "/secret/report/2f/groups.csv"):
        page = client.get(path)
        assert page.status_code in (404, 308), path
    assert client.post("/answer").status_code == 404


def test_it_listens_to_this_computer_alone(examiner, capsys):
    server, address = open_server(examiner)
    try:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        port = server.socket.getsockname()[1]
        assert re.fullmatch(rf"http://127\.0\.0\.1:{port}/[\w-]{{32}}/", address)
        assert run_kinface("web", "--port", port) == 2
        assert capsys.readouterr().err.startswith(f"kinface web: error: port {port}: Address already in use")
    finally:
        server.server_close()
    assert run_kinface("web", "--port", "70000") == 2


def test_without_the_library_its_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "flask", None)
    monkeypatch.delitem(sys.modules, "kinface.web.app")
    assert run_kinface("web") == 2
    assert "`pip install '.[web]'` in this project's folder installs them" in capsys.readouterr().err


# Reports


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("a report <of> ünïcode")
    (folder / "report.html").write_text("<title>Mine</title><a href='errors.html'>worst</a>", encoding="utf-8")
    (folder / "errors.html").write_text("<title>Worst</title><a href='report.html'>back</a>", encoding="utf-8")
    (folder / "metrics.json").write_text("{}")
    return folder


def test_a_folder_of_a_report_is_opened(client, folder):
    page = client.get("/secret/report", query_string={"folder": f" {folder} "})
    links = re.findall(r'(?:href|src)="(report/[^"]+)"', page.text)
    assert [link.rpartition("/")[2] for link in links] == ["report.html", "errors.html", "report.html"]
    shown = [client.get(f"/secret/{link}") for link in links[:2]]
    assert ["<title>Mine" in shown[0].text, "<title>Worst" in shown[1].text] == [True, True]
    for one in shown:
        policy = one.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox allow-scripts; default-src 'none'") and "allow-same-origin" not in policy
        assert one.headers["Cache-Control"] == "no-store"


def test_no_other_file_is_read(client, folder):
    place = str(folder).encode().hex()
    for path in (
        f"{place}/metrics.json",
        f"{place}/..%2Freport.html",
        "zz/report.html",
        "ff/report.html",
        "00/report.html",
    ):
        assert client.get(f"/secret/report/{path}").status_code == 404, path
    for hostile in ("~nobody/x", "\0", "x" * 5000, "/etc/ssh", "//evil/share"):
        page = client.get("/secret/report", query_string={"folder": hostile})
        assert page.status_code == 200 and "no report.html and no errors.html in it" in page.text, hostile
    page = client.get("/secret/report", query_string={"folder": str(folder / "<b>none")})
    assert "no report.html and no errors.html in it" in page.text and "<b>none" not in page.text
    (folder / "errors.html").rename(folder / "other.html")
    try:
        page = client.get("/secret/report", query_string={"folder": str(folder)})
        assert "kinface report --faces" in page.text and "errors.html" not in page.text
    finally:
        (folder / "other.html").rename(folder / "errors.html")
