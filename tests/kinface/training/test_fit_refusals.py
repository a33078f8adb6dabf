"""What training refuses before it begins, in one message."""

from __future__ import annotations

import pytest

from kinface.training.fit import fit as train_kinship
from swinface.files import InputError
from tests.kinface.training.conftest import CONFIGS, fit

REFUSED_PRECISIONS = ["bf16-true", "16-true", "64-true", "64", "transformer-engine"]
BESIDE = ["--model.hide", "{}", "--model.heads", "{race: {}}", "--model.attributes"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model.distillation", "1"], "data.teacher"),
        (["--data.teacher", "nowhere.npz"], "nowhere.npz"),
        (["--model.learning_rat", "1"], "model: no key 'learning_rat'"),
        (["--model.hide.race.strenght", "1"], "error: model.hide.race: no key 'strenght'; the keys are method, "),
        (["--model.heads", "{shoe: {}}"], "state the classes of 'shoe'"),
        (["--model.heads", "{shoe: {}}", "--model.attributes", "{shoe: [a, b], race: [b, c], gender: [f, m]}"], "shoe"),
        ([*BESIDE, "{race: [Martian, Venusian]}"], "Martian"),
        (["--data.embeddings", "nowhere.npz"], "nowhere.npz"),
        (["--model.network.swinface", "nowhere"], "nowhere"),
        (["--data.cache", "cache", "--data.augment", "false"], "trained_stages"),
        (["--trainer.max_epochs", "many"], "max_epochs"),
        (["--trainer.max_epochs", "-1"], "max_epochs"),
        (["--trainer.max_steps", "6"], "max_steps"),
        (["--trainer.fast_dev_run", "true"], "fast_dev_run"),
        *((["--trainer.precision", precision], "32-true, bf16-mixed, 16-mixed") for precision in REFUSED_PRECISIONS),
        (["--trainer.max_epochs", "0"], "max_epochs 0"),
        (["--trainer.accumulate_grad_batches", "0"], "accumulate_grad_batches 0"),
        (["--trainer.limit_train_batches", "0"], "limit_train_batches 0"),
        (["--trainer.limit_val_batches", "2"], "limit_val_batches 2"),
        (["--trainer.val_check_interval", "0.5"], "val_check_interval 0.5"),
        (["--trainer.check_val_every_n_epoch", "5"], "check_val_every_n_epoch 5"),
        (["--model.optimizer.learning_rate", "-1"], "learning_rate"),
        (["--model.optimizer.weight_decay", "-1"], "weight_decay"),
        (["--model.optimizer.warmup", "2"], "warmup"),
        (["--model.verification.options", "{temperature: 0}"], "temperature must be of type PositiveFloat; got 0"),
        (["--model.verification.method", "contrastive"], "choose from supervised_contrastive, fair_contrastive"),
        (["--model.network.width", "0"], "width"),
        (["--model.type_weight", "-1"], "type_weight"),
        (["--data.steps", "-1"], "error: data.steps: needs a whole number >0, not -1."),
        (["--trainer.max_epochs", "2.5"], "error: trainer.max_epochs: needs a whole number, not 2.5."),
        (["--seed-everything", "abc"], "error: seed_everything: needs true or false or a whole number, not 'abc'."),
        (["--checkpoint-steps", "1.5"], "error: checkpoint_steps: needs a whole number >0, not 1.5."),
        (["--data.workers", "-1"], "workers"),
        (["--data.root", "3"], "3"),
        (["--model.heads", "{race: {strength: 5}}"], "strength"),
        (["--model.hide", "{race: {weight: 5}}"], "weight"),
        (["--model.hide", "{race: {options: {updates: 0}}}"], "updates"),
        (["--model.hide", "{race: {reads: []}}"], "race.reads: one place"),
        ([*BESIDE, "{race: [no, yes]}"], "any of no, yes; people are African, Asian, Caucasian"),
        ([*BESIDE, "{race: [01, 10_20]}"], "any of 01, 10_20; people are"),
        ([*BESIDE, "{race: [null, African]}"], "text goes into quotes"),
        (["--model.hide", "{race: {}, race: {}}"], "the key 'race' is here twice"),
        (["--model.network.trained_stages", "7"], "trained_stages"),
        ([*BESIDE, "{race: [African, African]}"], "each class is named once"),
    ],
)
def test_bad_options_are_named_and_nothing_is_left(options, named, synthetic, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit(synthetic, tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("kinface fit: error: ")
    assert named in error
    assert not (tmp_path / "run").exists()


def test_a_missing_root_is_named(tmp_path, capsys):
    assert fit(tmp_path / "nowhere", tmp_path / "run") == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unreadable_image_is_named(synthetic, tmp_path, capsys):
    root = synthetic.parent / "families"  # not prepared: the planted unreadable images are still there
    assert fit(root, tmp_path / "run") == 2
    assert "not a readable image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {erase: [{methd: leace}]}", "model.erase[0]: no key 'methd'; the keys are attributes, method, "),
        ("model: {erase: [{attributes: [race], inside: maybe}]}", "model.erase[0].inside: needs true or false"),
        ("model: {erase: [{attributes: [race], method: leece}]}", "model.erase[0]: no eraser 'leece'; choose from "),
        ("model: {erase: [leace]}", "model.erase[0]: needs a mapping with attributes, method, "),
        ("model: {hide: {race: {strength: -1}}}", "model.hide.race.strength: needs a number ≥0, not -1."),
        ("model: {hide: {race: {reads: [levls]}}}", "model.hide.race.reads[0]: needs embedding or features or levels"),
        ("modle: {network: {width: 3}}", "no key 'modle'; the keys are trainer, model, data, seed_everything, "),
        ("hide: {race: {}}", "no key 'hide'; the keys are trainer, model, "),
        ("model: {hied: {race: {}}}", "model: no key 'hied'; the keys are verification, "),
        ("model.hied: {}", "model: no key 'hied'; the keys are verification, "),
        ("model: {network: {trnuk: {}}}", "model.network: no key 'trnuk'; the keys are "),
        ("model: {erase: [{attributes: [race], method: leace, optons: {}}]}", "model.erase[0]: no key 'optons'; "),
        ("model: {'erase+': [], width: 3}", "model: no key 'width'; "),
        ("model: {network: {widht: 3}}", "model.network: no key 'widht'; the keys are swinface, "),
        ("data: {stpes: 3}", "data: no key 'stpes'; the keys are root, "),
        ("data: {workers: null}", "data.workers: needs a whole number ≥0, not null."),
        ("model: {optimizer: {learning_rate: null}}", "model.optimizer.learning_rate: needs a number >0, not null."),
        ("model: {hide: {race: {strength: null}}}", "model.hide.race.strength: needs a number ≥0, not null."),
    ],
)
def test_a_mistake_is_told_in_a_sentence_with_its_file_and_the_keys_there_are(text, said, synthetic, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert fit(synthetic, tmp_path / "run", "--config", file, config="base") == 2
    error = capsys.readouterr().err
    assert f"kinface fit: error: {file}: {said}" in error
    assert error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hide": {"race": {}}}, r"^no key 'hide'; the keys are trainer, model, "),
        ({"model": {"hied": {"race": {}}}}, r"^model: no key 'hied'; "),
    ],
)
def test_a_key_of_python_that_nothing_has_is_refused_though_it_is_empty(settings, said, synthetic, tmp_path):
    with pytest.raises(InputError, match=said):
        train_kinship(
            CONFIGS / "kinface" / "base.yaml", run=tmp_path / "run", **({"data": {"root": synthetic}} | settings)
        )


def test_a_mistake_in_settings_of_python_is_not_one_of_a_file(synthetic, tmp_path):
    with pytest.raises(InputError, match=r"^data.augment: needs true or false, not null"):
        train_kinship(CONFIGS / "kinface" / "base.yaml", run=tmp_path, data={"root": synthetic, "augment": None})


OWN_LOSS = """
from kinface.training.losses import VerificationLoss

class Apart(VerificationLoss):
    def __init__(self, temperature):
        super().__init__()

    def forward(self, a, b):
        return FACTOR * (a["embedding"] - b["embedding"]).square().mean()
"""


def test_a_run_does_not_go_on_with_another_class_of_ones_own(synthetic, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [synthetic, tmp_path / "run", "--model.verification.method", "losses_of_mine.Apart"]

    def train(text: str) -> int:
        (tmp_path / "losses_of_mine.py").write_text(text)
        return fit(*given, config="base")

    assert train(OWN_LOSS.replace("FACTOR", "1")) == 0
    (tmp_path / "run" / "model.safetensors").unlink()  # as if it had been interrupted
    assert train(OWN_LOSS.replace("FACTOR", "2")) == 2
    assert "your module 'losses_of_mine' has changed since the run began; restore it" in capsys.readouterr().err
    assert train(OWN_LOSS.replace("FACTOR", "1")) == 0
