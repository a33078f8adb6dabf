"""The pages of ``kinface web``: a thin layer over ``kinface.models.examine``.

Nothing is stored, not even for a while: uploads are read in memory, pages hold their pictures, and browsers are told to
keep no copy. Where a photo has several faces, the page of the answer carries all of them, signed, so that another one
can be taken without the photo and without script. No page loads anything from elsewhere, which browsers enforce by the
pages' policy. Requests without the secret in the address are refused, also those of other users of the computer and of
pages of the web.
"""

from __future__ import annotations

import base64
import io
import os
import secrets
import socket
import warnings
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
from flask import Flask, Request, Response, abort, render_template, request
from itsdangerous import BadData, URLSafeSerializer
from jinja2 import StrictUndefined
from matplotlib.figure import Figure
from PIL import Image
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from kinface.data.vocabulary import in_words
from kinface.models.examine import Examination, Examiner, Photo, read_photo
from kinface.models.verify import CAUTION, SAME_PICTURE
from swinface.files import InputError, printable
from swinface.photos.predict import summarise
from swinface.tasks import TASKS

LOOPBACK = "127.0.0.1"
MOST_BYTES = 256 * 2**20  # of all photos together
MOST_PARTS = 1000  # of a form, nearly all of them photos
PEOPLE = {"a": "First person, or father", "b": "Second person, or mother", "child": "Child of both, if there is one"}
REPORTS = {"report.html": "Report", "errors.html": "Largest errors"}  # the pages of a folder of `kinface report`
LIKELY = 0.5  # probability from which an attribute is named
DOTS_PER_INCH = 150
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


# A report draws its charts by script. It is a file of others, so it runs in a place of its own, without the network.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"
)


class _InMemory(Request):
    def _get_file_stream(self, *about: object, **more: object) -> io.BytesIO:
        """Where an uploaded file goes; by default large ones are written to the disk."""
        return io.BytesIO()


class _Quiet(WSGIRequestHandler):
    def log_request(self, *about: object) -> None:
        """Nothing: the secret is in the address."""


def create_app(examiner: Examiner, secret: str) -> Flask:
    """The pages, below ``/secret/``, as a WSGI application."""
    app, nonce, alone = Flask(__package__, static_folder=None), secrets.token_urlsafe(), Lock()
    signer = URLSafeSerializer(secrets.token_urlsafe())
    app.request_class = _InMemory
    app.config |= dict.fromkeys(("MAX_CONTENT_LENGTH", "MAX_FORM_MEMORY_SIZE"), MOST_BYTES)
    app.config["MAX_FORM_PARTS"] = MOST_PARTS
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.filters |= {"printable": printable, "words": in_words}
    groups = {f"{grouping}: {in_words(group, grouping)}": (grouping, group) for grouping, group in examiner.groups[1:]}

    @app.get(f"/{secret}/")
    def photos() -> str:
        return render_template("photos.html", people=PEOPLE, groups=groups, nonce=nonce)

    @app.post(f"/{secret}/answer")
    def answer() -> str:
        uploaded = {name: [it for it in request.files.getlist(name) if it.filename] for name in PEOPLE}
        chosen = request.form.get("group", "")
        if chosen and chosen not in groups:
            raise InputError(f"no scores of the group {chosen!r}; choose one of the list.")
        with alone:  # one after the other: photos need much memory, and warnings are caught for all threads
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                people = {
                    name: [read_photo(file.read(), file.filename, "aligned" in request.form) for file in files]
                    or [_unpack(text, signer) for text in request.form.getlist(name)]
                    for name, files in uploaded.items()
                }
                if "take" in request.form:
                    _take(people, request.form["take"])
                examined = examiner(*people.values(), group=groups.get(chosen))
            described = _describe(examined)
        kept = {}
        if any(len(photo.crops) > 1 for person in people.values() for photo in person):
            kept = {name: [_pack(photo, signer) for photo in person] for name, person in people.items()}
        told = [str(warning.message) for warning in caught]
        return render_template("answer.html", **described, kept=kept, group=chosen, warnings=told)

    @app.get(f"/{secret}/report")
    def report() -> str:
        folder = Path(os.path.expanduser(request.args.get("folder", "").strip()))
        pages = {name: title for name, title in REPORTS.items() if os.path.isfile(folder / name)}
        problem = None
        if "folder" in request.args and not pages:
            problem = f"{folder}: no {' and no '.join(REPORTS)} in it; name a folder that `kinface report` wrote."
        named = {"folder": str(folder) if pages or problem else "", "place": str(folder.absolute()).encode().hex()}
        return render_template("report.html", **named, pages=pages, problem=problem)

    @app.get(f"/{secret}/report/<place>/<name>")
    def page_of_report(place: str, name: str) -> Response:
        if name not in REPORTS:
            abort(404)
        try:
            page = Path(bytes.fromhex(place).decode(), name).read_bytes()
        except (OSError, ValueError):
            abort(404)
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    @app.errorhandler(InputError)
    def refuse(error: InputError) -> tuple[str, int]:
        return render_template("problem.html", problem=str(error)), 400

    @app.errorhandler(RequestEntityTooLarge)
    def refuse_size(error: RequestEntityTooLarge) -> tuple[str, int]:
        most = f"{MOST_BYTES // 2**20} MB together, or are more than about {MOST_PARTS:,}"
        problem = f"The photos have more than {most}; choose fewer, or make them smaller."
        return render_template("problem.html", problem=problem), 413

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", POLICY.format(nonce=nonce))
        response.headers |= {
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return response

    return app


def open_server(examiner: Examiner, port: int = 0) -> tuple[BaseWSGIServer, str]:
    """A server that only this computer can reach, and its address; ``serve_forever`` starts it.

    The port 0 is any that is free. Raises ``InputError`` if the port is in use, or must not be used.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"port {port}: ports are numbers up to {2**16 - 1}; choose another one.")
    try:
        place = socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise InputError(f"port {port}: {error.strerror}; choose another one.") from error
    secret = secrets.token_urlsafe(24)
    with place:
        port = place.getsockname()[1]
        options = {"threaded": True, "request_handler": _Quiet, "fd": place.fileno()}
        server = make_server(LOOPBACK, port, create_app(examiner, secret), **options)
    return server, f"http://{LOOPBACK}:{port}/{secret}/"


def _describe(examined: Examination) -> dict[str, object]:
    """What the page of an answer shows."""
    same = any(answer["same_picture"] for answer in examined.answers.values())
    photos = [
        (f"{person} {number}", photo)
        for person, photos in zip(PEOPLE, examined.people, strict=False)
        for number, photo in enumerate(photos)
    ]
    faces = [
        {
            "name": name,
            "place": place,
            "photo": photo.name,
            "crops": [_to_png(crop) for crop in photo.crops],
            "chosen": photo.chosen,
            "summary": summarise(face),
            "attributes": [TASKS[task].title for task, share in face["attributes"].items() if share > LIKELY],
        }
        for name, (place, photo), face in zip(examined.names, photos, examined.described, strict=True)
    ]
    return {
        "answers": examined.answers,
        "scores": examined.scores,
        "triplets": examined.triplets,
        "figures": _draw_scores(examined, column=False),
        "narrow": _draw_scores(examined, column=True),
        "faces": faces,
        "looked": _to_png(examined.plot_faces()),
        "levels": {model: levels.mean(axis=0).tolist() for model, levels in examined.levels.items()},
        "caution": f"{SAME_PICTURE} {CAUTION}" if same else CAUTION,
        "several": any(len(person) > 1 for person in examined.people),
    }


def _draw_scores(examined: Examination, column: bool) -> dict[str, dict[str, str]]:
    """For pairs and for triplets, model to figure."""
    drawn = {"pairs": (examined.scores, examined.plot_scores), "triplets": (examined.triplets, examined.plot_triplets)}
    return {
        kind: {model: _to_png(plot(model, column=column)) for model, rows in scores.items() if rows}
        for kind, (scores, plot) in drawn.items()
    }


def _take(people: dict[str, list[Photo]], wanted: str) -> None:
    """Choose another face of a photo; ``wanted`` names the person, the photo and the face, such as ``child 0 2``."""
    try:
        name, number, face = wanted.split()
        people[name][int(number)] = replace(people[name][int(number)], chosen=int(face))
    except (ValueError, LookupError):
        raise InputError(f"no face {wanted!r} in these photos; choose one that the page shows.") from None


def _pack(photo: Photo, signer: URLSafeSerializer) -> str:
    """A photo as text that only this server can have written."""
    pictures = {"image": _to_png(photo.image), "crops": [_to_png(crop) for crop in photo.crops]}
    return signer.dumps({"name": photo.name, "boxes": photo.boxes.tolist(), "chosen": photo.chosen, **pictures})


def _unpack(text: str, signer: URLSafeSerializer) -> Photo:
    try:
        kept = signer.loads(text)
    except BadData:
        raise InputError("these photos are not of a page of this server; choose them again.") from None
    crops = np.stack([_from_png(crop) for crop in kept["crops"]])
    return Photo(kept["name"], _from_png(kept["image"]), np.array(kept["boxes"]), crops, kept["chosen"])


def _to_png(picture: Figure | np.ndarray) -> str:
    """A figure or pixels as a PNG in text."""
    buffer = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    else:
        Image.fromarray(picture).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def _from_png(text: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image)
