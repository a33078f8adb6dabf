from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from kinface.debias.erasure import Erase
from kinface.debias.heads import Head, Hide
from kinface.models.kinface import KinFace
from kinface.training.fit import KinshipCLI
from kinface.training.losses import SupervisedContrastive, Verification
from kinface.training.module import KinshipTraining, Optimizer
from kinface.training.network import Network
from swinface.files import InputError
from swinface.model import SwinFace
from swinface.training.runs import configure
from tests.commands import run_kinface

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
ATTRIBUTES = {"race": ["African", "Asian", "Caucasian"], "gender": ["f", "m"], "age": ["young", "old"]}
TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}


def training(network: dict | None = None, **options) -> KinshipTraining:
    network = Network(**{"trunk": TINY, "width": 16, "size": 8, **(network or {})})
    return KinshipTraining(Verification(), network=network, attributes=ATTRIBUTES, **options)


def trained_parts(module: KinshipTraining) -> set[str]:
    names = [name for name, parameter in module.network.named_parameters() if parameter.requires_grad]
    return {
        ".".join(name.split(".")[:4]) if name.startswith("trunk.swin.layers") else name.split(".")[0] for name in names
    }


def test_a_trunk_is_frozen_partly_or_not_at_all():
    assert trained_parts(training({"trained_stages": 0})) == {"neck", "projection"}
    last = trained_parts(training({"trained_stages": 1}))
    assert last == {"neck", "projection", "trunk.swin.layers.2"}
    every = trained_parts(training({"trained_stages": None}))
    assert every == {"neck", "projection", "trunk"} | {f"trunk.swin.layers.{stage}" for stage in range(3)}


def test_what_is_null_is_hidden_no_more():
    module = training(hide={"race": None, "gender": Hide()})
    assert [*module.hiders] == [*module.hide] == ["gender"]


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda read: read.sum(dim=1), r"forward gives \(2,\); it must be \(N, K\), a column for each class"),
        (lambda read: {}["weights"], r"it fails \(KeyError: 'weights'\)"),
    ],
)
def test_an_adversary_of_ones_own_that_tells_no_classes_is_refused(forward, message):
    module = training(hide={"gender": Hide()}).eval()
    module.hiders["gender"].forward, module._outputs = forward, []
    with pytest.raises(InputError, match=f"^model.hide.gender: {message}"):
        module.validation_step(torch.zeros(2, 3, 112, 112, dtype=torch.uint8), 0)


def test_frozen_stages_drop_nothing_at_random():
    trunk = training({"trained_stages": 1}).network.trunk
    assert [stage.training for stage in trunk.swin.layers] == [False, False, True]
    assert not trunk.swin.patch_embed.training


def test_the_trunk_has_as_many_stages_as_it_has():
    for stages in (-1, 4):
        with pytest.raises(InputError, match="has 3 stages"):
            training({"trained_stages": stages})


def test_types_have_a_head_where_they_are_trained():
    assert training().network.types is None
    assert training(type_weight=1.0).network.types is not None


@pytest.mark.parametrize("classes", [["a"], ["a", "b", "a"]])
def test_an_attribute_that_is_used_needs_two_different_classes(classes):
    network, attributes = Network(trunk=TINY, width=16, size=8), {"race": classes, "shoe": []}
    with pytest.raises(InputError, match=r"attributes.race: (two classes or more|each class is named once)"):
        KinshipTraining(Verification(), heads={"race": Head()}, attributes=attributes, network=network)


def test_a_swinface_gives_its_trunk(tmp_path):
    start = SwinFace(**{**TINY, "width": 12})
    start.save_pretrained(tmp_path)
    trunk = training({"swinface": tmp_path, "trunk": None}).network.trunk
    for name, tensor in start.trunk.state_dict().items():
        assert torch.equal(trunk.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("network", "embedding_size", "message"),
    [({"trunk": None}, None, "needs an input"), ({"swinface": "x"}, 4, "not both")],
)
def test_inputs_that_cannot_be(network, embedding_size, message):
    with pytest.raises(InputError, match=message):
        training(network, embedding_size=embedding_size)


def test_nothing_to_train_is_refused():
    with pytest.raises(InputError, match="nothing to train"):
        KinshipTraining(None, network=Network(trunk=TINY))


def test_an_erasure_with_axes_of_its_own_does_not_go_with_a_type_head():
    with pytest.raises(InputError, match="kram changes the meaning of dimensions"):
        training(type_weight=1.0, erase=[Erase(["gender"], "kram")])


def test_the_strength_of_each_head_follows_its_schedule(monkeypatch):
    hide = {"race": Hide(strength=2.0), "gender": Hide(strength=0.5, schedule="constant")}
    module = training(heads={"age": Head()}, hide=hide)
    monkeypatch.setattr(KinshipTraining, "trainer", SimpleNamespace(estimated_stepping_batches=100))
    monkeypatch.setattr(KinshipTraining, "global_step", 30)
    assert module.reversal() == pytest.approx({"race": 2 * (2 / (1 + math.exp(-3)) - 1), "gender": 0.5})


def test_each_part_has_its_rate_and_all_follow_one_schedule(monkeypatch):
    heads = {"race": Head(learning_rate=0.3), "gender": Head()}
    module = training({"trained_stages": None}, heads=heads, optimizer=Optimizer(0.2, 0.1, warmup=0.1))
    monkeypatch.setattr(KinshipTraining, "trainer", SimpleNamespace(estimated_stepping_batches=100))
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rate_of = {p: group["initial_lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in module.network.named_parameters():
        if parameter.requires_grad:
            expected = 0.1 if name.startswith("trunk") else 0.3 if name.startswith("heads.race") else 0.2
            assert rate_of[parameter] == expected, name
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"] / optimizer.param_groups[0]["initial_lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001


def outputs_of(count: int, size: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    embedding = torch.nn.functional.normalize(torch.randn(2 * count, size, generator=generator), dim=1)
    return {"features": torch.randn(2 * count, 16, generator=generator), "embedding": embedding.requires_grad_()}


def test_matched_pairs_are_negatives_within_their_group_alone():
    module = training({"size": 6}, matched=["race"])
    outputs = outputs_of(9)
    #        two Asian pairs, three African-Caucasian ones either way round, one alone, one unknown, two Caucasian
    side_a = torch.tensor([1, 1, 0, 2, 0, 0, -1, 2, 2])
    side_b = torch.tensor([1, 1, 2, 0, 2, 0, 0, 2, 2])
    found = module._verification_loss(outputs, {"race": torch.cat([side_a, side_b])})
    expected = 0.0
    for group in ([0, 1], [2, 3, 4], [7, 8]):
        a, b = ({"embedding": outputs["embedding"][[row + side for row in group]]} for side in (0, 9))
        expected += len(group) * SupervisedContrastive()(a, b).item() / 7
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_nothing_that_matches_is_a_loss_of_zero():
    module = training({"size": 6}, matched=["race"])
    assert module._verification_loss(outputs_of(3), {"race": torch.tensor([0, 1, 2, 0, 1, 2])}).item() == 0


def test_a_pair_trains_the_projection_of_its_domain():
    module = training({"size": 6}, domains="race")
    assert module.network.domains == 3
    embedding = outputs_of(3)["embedding"].requires_grad_(True)
    shared = torch.tensor([0, 2, -1])  # both African, both Caucasian, of two races
    kept = module._keep_domain(embedding, shared)
    torch.testing.assert_close(kept.norm(dim=1), torch.ones(6))
    used = (kept != 0).unflatten(1, (3, 2)).any(dim=2)
    assert used.tolist() == [[True, False, False], [False, False, True], [True, True, True]] * 2
    torch.testing.assert_close(kept[2], embedding[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matched": ["shoe"]}, "state the classes of 'shoe'; it has those of race, gender, age"),
        ({"heads": {"race": Head()}, "hide": {"race": Hide()}}, "model.hide.race: model.heads predicts it"),
        ({"erase": [Erase(["race"]), Erase(["race"], inside=True)]}, "steps inside training come first"),
        ({"erase": [Erase(["race"], at="features"), Erase(["race"], inside=True, at="features")]}, "first"),
        ({"hide": {"race": Hide("kernel", {"updates": 3})}}, r"hide\.race: .*'kernel'.* its options are reading"),
        ({"hide": {"race": Hide("mlp", {"updates": 0})}}, r"hide\.race: .*updates must be of type PositiveInt; got 0"),
        ({"hide": {"race": Hide("lmp")}}, r"no adversary or penalty 'lmp'; choose from mlp, kernel, mmd"),
        ({"hide": {"race": Hide(reads=[])}}, r"hide\.race\.reads: one place or several"),
        ({"hide": {"race": Hide(reads="levels")}, "embedding_size": 4}, "reads embeddings"),
    ],
)
def test_methods_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        training(**options)


def test_adversaries_are_no_part_of_the_model():
    module = training(heads={"gender": Head()}, hide={"race": Hide()})
    assert set(module.network.heads) == {"gender"}
    assert set(module.hiders) == {"race"}
    assert not any(parameter.requires_grad for parameter in module.hiders.parameters())


def test_training_starts_from_a_kinship_model(tmp_path):
    torch.manual_seed(0)
    steps = [{"attributes": {"gender": ["f", "m"]}}]
    earlier = KinFace(TINY, width=16, size=8, erase=steps, heads={"gender": ["f", "m"]})
    earlier.save_pretrained(tmp_path / "earlier")
    network = training({"kinface": tmp_path / "earlier"}).network
    for name in ("trunk", "neck", "projection"):
        ours, theirs = (getattr(model, name).state_dict() for model in (network, earlier))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name
    assert len(network.erasures) == 0 and not network.heads
    wider = training({"kinface": tmp_path / "earlier", "width": 24}).network
    assert torch.equal(*(model.trunk.swin.patch_embed.proj.weight for model in (wider, earlier)))
    assert wider.projection.in_features == 24
    for changes, options, message in (
        ({}, {"embedding_size": 4}, "it reads images"),
        ({"swinface": Path("shipped")}, {}, "give one of model.network"),
    ):
        with pytest.raises(InputError, match=message):
            training({"kinface": tmp_path / "earlier", **changes}, **options)


def test_adversaries_stand_at_several_places():
    places = ["embedding", "features", "levels"]
    module = training(heads={"gender": Head()}, hide={"race": Hide("kernel", reads=places)})
    assert set(module.hiders) == {f"race_{place}" for place in places}
    sizes = [module.network.projection.out_features, module.network.projection.in_features]
    read = [module.hiders[f"race_{place}"].faces.shape[1] for place in places]
    assert read == [*sizes, sum(module.network.trunk.channels)]
    assert module.hidden == {f"race_{place}": ("race", place) for place in places}


def test_an_attribute_of_ones_own_is_matched_hidden_erased_and_has_a_domain(synthetic, tmp_path):
    """Training takes any attribute of the people table."""
    root, bands = tmp_path / "tables", ["younger", "older"]
    shutil.copytree(synthetic, root)
    people = pd.read_parquet(root / "people.parquet")
    people["half"] = [None, *np.resize(bands, len(people) - 1)]
    people["half_source"] = "human annotated"
    people.to_parquet(root / "people.parquet")
    faces = pd.read_parquet(root / "faces.parquet")["face"].to_numpy(str)
    embedding = np.random.default_rng(0).normal(size=(len(faces), 12))
    np.savez(tmp_path / "table.npz", face=faces, embedding=embedding)
    model = {
        "attributes": {"half": bands},
        "hide": {"half": {"method": "mlp"}},
        "matched": ["half"],
        "domains": "half",
        "erase": [{"attributes": ["half"]}],
    }
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump({"model": model}))
    configs = [CONFIGS / "kinface" / "base.yaml", CONFIGS / "smoke.yaml", tmp_path / "overlay.yaml"]
    options = {"data.root": root, "data.embeddings": tmp_path / "table.npz", "run": tmp_path / "run"}
    options |= {"trainer.accelerator": "cpu", "trainer.devices": 1, "trainer.enable_progress_bar": "false"}
    arguments = [f"--config={path}" for path in configs] + [f"--{name}={value}" for name, value in options.items()]
    assert run_kinface("fit", *arguments) == 0
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["train_half"].gt(0).all() and metrics["tune_half_balanced_accuracy"].between(0, 1).all()
    network = KinFace.from_pretrained(tmp_path / "run")
    assert network.domains == 2
    assert not torch.equal(network.erasures[0].maps[0], torch.eye(network.projection.out_features))


def test_one_callback_needs_no_list(synthetic, tmp_path):
    words = [f"--config={CONFIGS / 'kinface' / 'base.yaml'}", f"--run={tmp_path}", f"--data.root={synthetic}"]
    cli = configure(KinshipCLI, [*words, "--trainer.accelerator=cpu", "--trainer.callbacks=ModelSummary"])
    assert "ModelSummary" in [type(it).__name__ for it in cli.trainer.callbacks]
