from .data.fiw import read_families
from .data.matching import match_pairs
from .data.pairs import read_pairs, score_pairs
from .data.sampling import sample_pairs
from .fairness.audit import FairnessAudit, audit_fairness
from .fairness.comparison import compare_audits
from .fairness.threshold import choose_threshold
from .leakage.leakage import Leakage, probe_leakage
from .models.kinface import KinFace

__all__ = [
    "FairnessAudit",
    "KinFace",
    "Leakage",
    "audit_fairness",
    "choose_threshold",
    "compare_audits",
    "match_pairs",
    "probe_leakage",
    "read_families",
    "read_pairs",
    "sample_pairs",
    "score_pairs",
]
