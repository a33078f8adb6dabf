from .data.fiw import read_families
from .data.pairs import read_pairs
from .data.scoring import score
from .debias.erasers import erasers
from .leakage.leakage import probe
from .models.kinface import KinFace
from .report.audit import audit, compare
from .synthetic.tables import make_families
from .tradeoff.frontier import frontier
from .training.fit import fit
from .training.history import list_runs

__all__ = [
    "KinFace",
    "audit",
    "compare",
    "erasers",
    "fit",
    "frontier",
    "list_runs",
    "make_families",
    "probe",
    "read_families",
    "read_pairs",
    "score",
]
