from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.preprocessing import normalize

from kinface.data.lists import read_list
from kinface.data.pairs import read_pairs, score_pairs, write_pairs
from kinface.debias.whitening import Whitened
from kinface.models import faces
from kinface.models.faces import read_faces
from kinface.models.kinface import KinFace
from swinface.data.embeddings import Embeddings
from swinface.files import InputError
from tests.commands import run_kinface

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}


@pytest.fixture(scope="module")
def listed(synthetic, families, tmp_path_factory) -> Path:
    """The first 60 lines of the validation list."""
    path = tmp_path_factory.mktemp("list") / "short.txt"
    lines = (families.root / "lists" / "val_choose.txt").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:60]))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    KinFace(TINY, width=16, size=8).save_pretrained(folder)
    return folder


@pytest.fixture
def table(families, tmp_path) -> Path:
    """Embeddings of all faces, of another model."""
    paths = families.faces["face"].to_numpy(str)
    values = np.random.default_rng(0).normal(size=(len(paths), 12)).astype(np.float16)
    np.savez(tmp_path / "table.npz", face=paths, embedding=values)
    return tmp_path / "table.npz"


def test_scores_are_the_cosines_in_the_order_of_the_list(synthetic, families, listed, model, tmp_path):
    out = tmp_path / "scores.parquet"
    options = ["--model", model, "--root", synthetic, "--precision", "full"]
    assert run_kinface("score", *options, "--list", listed, "--out", out) == 0
    scored, wanted = read_pairs(out, scored=True), read_list(listed, families)
    pd.testing.assert_frame_equal(scored.drop(columns="score"), wanted.drop(columns="score"))
    network = KinFace.from_pretrained(model)
    for row in scored.iloc[:5].itertuples():
        with torch.no_grad():
            a, b = network(read_faces(families.root, [row.face_a, row.face_b]))["embedding"]
        assert row.score == pytest.approx(float(a @ b), abs=1e-5)


def test_another_models_embeddings_are_whitened_by_the_training_people(synthetic, families, table, tmp_path, capsys):
    out, options = tmp_path / "scores.parquet", ["--root", synthetic, "--list", "tune"]
    assert run_kinface("score", "--embeddings", table, "--whiten", synthetic, *options, "--out", out) == 0
    embeddings, about = Embeddings(table), families.faces[families.faces["split"] == "train"]
    whitened = Whitened().fit(normalize(embeddings[[*about["face"]]]), persons=about["person"])
    pairs = read_pairs(out, scored=True)
    every = families.faces["face"].tolist()
    expected = score_pairs(pairs, every, whitened.transform(normalize(embeddings[every])))
    np.testing.assert_allclose(pairs["score"], expected["score"], atol=1e-6)
    assert run_kinface("score", "--whiten", synthetic, *options, "--out", out) == 2
    assert "--whiten is for --embeddings" in capsys.readouterr().err
    people = tmp_path / "people.csv"
    about.drop_duplicates("person").to_csv(people, index=False)
    assert run_kinface("score", "--embeddings", table, "--whiten", people, *options, "--out", out) == 2
    assert "no two photos of one person" in capsys.readouterr().err


def test_a_list_of_the_prepared_folder_goes_by_its_name(synthetic, model, table, tmp_path, capsys):
    out = tmp_path / "scores.parquet"
    assert run_kinface("score", "--embeddings", table, "--root", synthetic, "--list", "tune", "--out", out) == 0
    prepared = read_pairs(synthetic / "pairs.parquet")
    scored = read_pairs(out, scored=True)
    assert list(scored["face_a"]) == list(prepared.loc[prepared["list"] == "tune", "face_a"])
    assert run_kinface("score", "--embeddings", table, "--root", synthetic, "--list", "tuna", "--out", out) == 2
    assert "tuna" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["RFIW", "KFC", "table"])
@pytest.mark.parametrize("by", ["model", "embeddings"])
def test_a_list_of_flat_faces_is_scored_below_any_root(form, by, families, listed, model, table, tmp_path):
    flat, out, wanted = tmp_path / "flat", tmp_path / "scores.parquet", read_list(listed, families)
    names = {face: f"faces/face{number}.jpg" for number, face in enumerate(families.faces["face"])}
    (flat / "faces").mkdir(parents=True)
    for face in {*wanted["face_a"], *wanted["face_b"]}:
        shutil.copyfile(families.root / face, flat / names[face])
    renamed = wanted.assign(**{side: wanted[side].map(names) for side in ("face_a", "face_b")})
    rows = (f"{row.face_a} {row.face_b} {row.type} {int(row.kin)}" for row in renamed.itertuples())
    rows = [f"{n} {row}" if form == "RFIW" else f"{row} AA" for n, row in enumerate(rows)]
    path = tmp_path / ("list.csv" if form == "table" else "list.txt")
    write_pairs(renamed, path) if form == "table" else path.write_text("\n".join(rows))
    if by == "embeddings":
        of_faces = np.load(table)
        np.savez(table, face=[names[face] for face in of_faces["face"]], embedding=of_faces["embedding"])
    scorer = {"model": model, "embeddings": table}[by]
    assert run_kinface("score", f"--{by}", scorer, "--root", flat, "--list", path, "--out", out) == 0
    scored = read_pairs(out, scored=True)
    assert scored["face_a"].tolist() == renamed["face_a"].tolist()
    if form != "table":  # which says itself whose faces they are
        assert scored[["person_a", "person_b", "family_a", "family_b", "split"]].isna().all(axis=None)
    assert scored["race_a"].isna().all() == (form == "RFIW")
    if by == "model":
        scored_in_place = tmp_path / "in_place.parquet"
        options = ["--root", families.root, "--list", listed, "--out", scored_in_place]
        assert run_kinface("score", "--model", model, *options) == 0
        np.testing.assert_allclose(scored["score"], read_pairs(scored_in_place)["score"], atol=1e-5)


def test_an_embedding_without_direction_is_refused(synthetic, families, listed, tmp_path, capsys):
    paths = families.faces["face"].to_numpy(str)
    np.savez(tmp_path / "zero.npz", face=paths, embedding=np.zeros((len(paths), 3)))
    out = tmp_path / "scores.parquet"
    assert (
        run_kinface("score", "--embeddings", tmp_path / "zero.npz", "--root", synthetic, "--list", listed, "--out", out)
        == 2
    )
    assert "has no direction" in capsys.readouterr().err
    assert not out.exists()


def test_each_face_is_read_and_embedded_once(synthetic, listed, model, tmp_path, monkeypatch):
    read, embedded = [], []
    decode, forward = faces.read_face, KinFace.forward
    monkeypatch.setattr(faces, "read_face", lambda path, size: read.append(path) or decode(path, size))
    monkeypatch.setattr(faces, "warn_unaligned", lambda *_: None)  # reads a few faces first
    monkeypatch.setattr(KinFace, "forward", lambda self, x, *rest: embedded.append(len(x)) or forward(self, x, *rest))
    out = tmp_path / "scores.parquet"
    assert run_kinface("score", "--model", model, "--root", synthetic, "--list", listed, "--out", out) == 0
    pairs = read_pairs(out)
    count = len({*pairs["face_a"], *pairs["face_b"]})
    assert count < 2 * len(pairs)
    assert len(read) == len(set(read)) == count
    assert sum(embedded) == count


def test_faces_are_paths_or_images_or_embeddings(families):
    paths = [*families.faces["face"][:5]]
    network = KinFace(TINY, width=16, size=8).eval()
    by_path = network.embed(paths, root=families.root, batch=2)
    images = read_faces(families.root, paths)
    np.testing.assert_allclose(network.embed(images.permute(0, 2, 3, 1).numpy()), by_path, atol=1e-6)
    np.testing.assert_allclose(network.embed(images), by_path, atol=1e-6)
    light = KinFace(embedding_size=12, width=16, size=8).eval()
    assert light.embed(np.ones((3, 12), np.float32)).shape == (3, 8)
    with pytest.raises(InputError, match=r"reads embeddings, \(N, 12\); got paths"):
        light.embed(paths)
    with pytest.raises(InputError, match=r"reads embeddings, \(N, 12\); got an array of float64 \(2, 3\)"):
        light.embed(np.ones((2, 3)))
    with pytest.raises(InputError, match=r"reads images, .* or paths; got an array of float64"):
        network.embed(np.ones((2, 12)))
    with pytest.raises(InputError, match="no faces"):
        network.embed([])


def test_colours_may_be_a_reversed_view(model):
    network, images = KinFace.from_pretrained(model), np.arange(112 * 112 * 3, dtype=np.uint8).reshape(1, 112, 112, 3)
    np.testing.assert_array_equal(network.embed(images[..., ::-1]), network.embed(images[..., ::-1].copy()))


def test_a_model_in_training_mode_is_refused(model):
    for network, given in (
        (KinFace.from_pretrained(model).train(), np.zeros((2, 112, 112, 3), np.uint8)),
        (KinFace(embedding_size=12, width=16, size=8), np.zeros((2, 12), np.float32)),
    ):
        with pytest.raises(InputError, match=r"the model is in training mode, .*; call model.eval\(\)"):
            network.embed(given)


def test_float_images_are_not_taken_for_levels(model):
    with pytest.raises(InputError, match=r"levels: they are \(2, 3, 112, 112\); give .*, or images as uint8"):
        KinFace.from_pretrained(model)(torch.zeros(2, 3, 112, 112))


def test_embed_then_score_gives_what_the_model_scores(synthetic, families, listed, model, tmp_path):
    table, one, other = tmp_path / "all.npz", tmp_path / "one.parquet", tmp_path / "other.csv"
    assert run_kinface("embed", "--model", model, "--root", synthetic, "--out", table) == 0
    with np.load(table) as written:
        assert list(written["face"]) == list(families.faces["face"])
        assert written["embedding"].shape == (len(families.faces), 8)
        np.testing.assert_allclose(np.linalg.norm(written["embedding"], axis=1), 1, rtol=1e-5)
    assert run_kinface("score", "--model", model, "--root", synthetic, "--list", listed, "--out", one) == 0
    assert run_kinface("score", "--embeddings", table, "--root", synthetic, "--list", listed, "--out", other) == 0
    np.testing.assert_allclose(read_pairs(one)["score"], read_pairs(other)["score"], atol=1e-5)


def test_other_models_embeddings_need_not_have_unit_length(synthetic, families, listed, table, tmp_path):
    out = tmp_path / "scores.parquet"
    assert run_kinface("score", "--embeddings", table, "--root", synthetic, "--list", listed, "--out", out) == 0
    values = Embeddings(table)
    for row in read_pairs(out).iloc[:5].itertuples():
        a, b = torch.from_numpy(values[[row.face_a, row.face_b]])
        assert row.score == pytest.approx(float(torch.cosine_similarity(a, b, dim=0)), abs=1e-6)


def test_a_model_of_embeddings_reads_its_inputs(synthetic, listed, table, tmp_path, capsys):
    KinFace(embedding_size=12, width=16, size=8).save_pretrained(tmp_path / "run")
    options = ["--model", tmp_path / "run", "--root", synthetic, "--list", listed, "--out", tmp_path / "scores.parquet"]
    assert run_kinface("score", *options) == 2
    assert "--inputs" in capsys.readouterr().err
    assert run_kinface("score", *options, "--inputs", table) == 0
    assert read_pairs(tmp_path / "scores.parquet", scored=True)["score"].between(-1, 1).all()
    out = ["embed", "--model", tmp_path / "run", "--out", tmp_path / "own.npz"]
    assert run_kinface(*out, "--inputs", table) == 0  # without images, all faces of the table
    assert [*Embeddings(tmp_path / "own.npz").rows] == [*Embeddings(table).rows]
    assert run_kinface(*out) == 2
    assert "--root is missing" in capsys.readouterr().err


def test_a_model_of_images_reads_no_embeddings(synthetic, listed, model, table, tmp_path, capsys):
    options = ["--model", model, "--root", synthetic, "--list", listed, "--out", tmp_path / "scores.parquet"]
    assert run_kinface("score", *options, "--inputs", table) == 2
    assert "drop --inputs" in capsys.readouterr().err


def test_resized_faces(tmp_path, families):
    from PIL import Image

    face = families.faces["face"][0]
    with Image.open(families.root / face) as image:
        image.resize((224, 224)).save(tmp_path / "large.png")
        image.resize((224, 200)).save(tmp_path / "oblong.png")
    close = read_faces(tmp_path, ["large.png"])[0].float() - read_faces(families.root, [face])[0].float()
    assert close.abs().mean() < 8
    with pytest.raises(InputError, match=r"oblong.png: 224x200 pixels"):
        read_faces(tmp_path, ["oblong.png"])


@pytest.fixture
def bad(tmp_path, families) -> dict[str, Path]:
    """Inputs that cannot be used."""
    a, b = families.faces.loc[families.faces["split"] == "val", "face"][:2]
    written = {
        "empty.txt": "",
        "absent.txt": f"0 {a} {b} fs 1\n1 {a} Validation/val-faces/F0004/MID1/none.jpg fs 0\n",
        "leaving.txt": f"0 {a} ../../secret.jpg fs 1\n",
        "short.txt": f"0 {a} {b}\n",
        "text.npz": "no table",
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    faces_ = families.faces["face"].to_numpy(str)
    np.savez(tmp_path / "few.npz", face=faces_[:2], embedding=np.ones((2, 3)))
    np.savez(tmp_path / "twice.npz", face=faces_[[0, 0]], embedding=np.ones((2, 3)))
    np.savez(tmp_path / "nan.npz", face=faces_[:2], embedding=np.array([[1.0, 2.0], [1.0, np.nan]]))
    np.savez(tmp_path / "flat.npz", face=faces_[:2], embedding=np.ones(2))
    np.savez(tmp_path / "columns.npz", path=faces_[:2])
    np.savez(tmp_path / "pickled.npz", face=np.array([{}], dtype=object), embedding=np.ones((1, 2)))
    return {path.name: path for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"--list": "empty.txt"}, ["empty.txt"]),
        ({"--list": "absent.txt"}, ["absent.txt", "2", "none.jpg"]),
        ({"--list": "leaving.txt"}, ["leaving.txt", "1", "leaves"]),
        ({"--list": "short.txt"}, ["short.txt", "1"]),
        ({"--embeddings": "text.npz"}, ["text.npz", "not a .npz"]),
        ({"--embeddings": "few.npz"}, ["few.npz", "no embedding of"]),
        ({"--embeddings": "twice.npz"}, ["twice.npz", "`face` are both"]),
        ({"--embeddings": "nan.npz"}, ["nan.npz", "row 1"]),
        ({"--embeddings": "flat.npz"}, ["flat.npz", "must be numbers, (2, D)"]),
        ({"--embeddings": "columns.npz"}, ["columns.npz", "`face`"]),
        ({"--embeddings": "pickled.npz"}, ["pickled.npz"]),
        ({"--out": "scores.txt"}, ["scores.txt", ".parquet"]),
        ({"--model": "nowhere"}, ["one of --model and --embeddings"]),
        ({"--root": "nowhere"}, ["nowhere"]),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(options, named, bad, synthetic, listed, table, tmp_path, capsys):
    given = {"--root": synthetic, "--list": listed, "--embeddings": table, "--out": tmp_path / "scores.parquet"}
    given |= {option: bad.get(name, tmp_path / name) for option, name in options.items()}
    before = sorted(tmp_path.iterdir())
    assert run_kinface("score", *(part for option in given.items() for part in option)) == 2
    error = capsys.readouterr().err
    assert error.startswith("kinface score: error: ")
    assert error.count("\n") == 1
    assert all(name in error for name in named), error
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_no_model_is_named(synthetic, listed, tmp_path, capsys):
    options = ["--root", synthetic, "--list", listed, "--out", tmp_path / "scores.parquet"]
    assert run_kinface("score", "--model", tmp_path / "nowhere", *options) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_run_that_is_not_complete_is_named(synthetic, listed, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.ckpt").write_bytes(b"")
    options = ["--root", synthetic, "--list", listed, "--out", tmp_path / "scores.parquet"]
    assert run_kinface("score", "--model", run, *options) == 2
    assert "not complete; the same `kinface fit` command continues" in capsys.readouterr().err


def test_a_truncated_face_is_named(synthetic, listed, model, tmp_path, capsys, families):
    face = read_list(listed, families)["face_a"][0]
    original = (families.root / face).read_bytes()
    try:
        (families.root / face).write_bytes(original[:-200])
        out = tmp_path / "scores.parquet"
        assert run_kinface("score", "--model", model, "--root", synthetic, "--list", listed, "--out", out) == 2
    finally:
        (families.root / face).write_bytes(original)
    assert face in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("precision", ["full", "fast"])
def test_a_table_says_what_computed_it_and_erasures_are_torchs(precision, tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason="the extra fast is not installed")
    monkeypatch.setattr("swinface.inference.multiplies_bfloat16", lambda device: True)
    rng, tables, faces = np.random.default_rng(0), {}, tmp_path / "faces"
    faces.mkdir()
    for number in range(4):
        pixels = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((112, 112)).save(faces / f"{number}.png")
    for runtime in ("auto", "torch", "openvino"):
        out = tmp_path / f"{runtime}.npz"
        options = ["--precision", precision, "--runtime", runtime]
        assert run_kinface("embed", "--model", "shipped-debiased", "--root", faces, "--out", out, *options) == 0
        tables[runtime] = np.load(out)
    dtype = {"full": "float32", "fast": "bfloat16"}[precision]
    chosen = {"full": "torch", "fast": "openvino"}[precision]  # of so few faces
    wanted = {"torch": f"torch {dtype}", "openvino": f"openvino {dtype}", "auto": f"{chosen} {dtype}"}
    assert {runtime: str(table["runtime"]) for runtime, table in tables.items()} == wanted
    assert np.array_equal(tables["auto"]["embedding"], tables[chosen]["embedding"])
    difference = np.abs(tables["torch"]["embedding"] - tables["openvino"]["embedding"]).max()
    assert 0 < difference < {"full": 1e-5, "fast": 0.05}[precision]


def test_faces_are_named_by_any_list_of_paths(model, families):
    network, names = KinFace.from_pretrained(model), families.faces["face"].head(3)
    expected = network.embed([*names], root=families.root)
    for given in (*map(names.to_numpy, (str, object, np.dtypes.StringDType())), (Path(name) for name in names)):
        np.testing.assert_array_equal(network.embed(given, root=families.root), expected)
    whole = [str(families.root.resolve() / name) for name in names]
    np.testing.assert_array_equal(network.embed(whole), expected)  # without a root, paths are of any kind
    with pytest.raises(InputError, match="leaves the data root"):
        network.embed(["../a.jpg"], root=families.root)


@pytest.mark.parametrize(
    "faces",
    [
        torch.zeros(2, 112, 112, 3, dtype=torch.uint8),
        torch.zeros(2, 3, 112, 112),
        torch.zeros(2, 3, 224, 224, dtype=torch.uint8),
        torch.zeros(3, 112, 112, dtype=torch.uint8),
    ],
    ids=["colours last", "floats", "another size", "one face"],
)
def test_tensors_that_a_model_cannot_read_are_refused(faces, model):
    with pytest.raises(InputError, match=r"this model reads tensors of images, \(N, 3, 112, 112\) uint8, RGB, or"):
        KinFace.from_pretrained(model).embed(faces)
    with pytest.raises(InputError, match=r"this model reads embeddings, \(N, 12\); got a tensor of torch"):
        KinFace(embedding_size=12, width=16, size=8).eval().embed(faces)
