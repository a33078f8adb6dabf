from .data.fiw import read_families
from .data.matching import match_pairs
from .data.pairs import read_pairs, score_pairs
from .data.sampling import sample_pairs
from .debias.closed_form import Inlp, Leace, Transport
from .fairness.audit import FairnessAudit, audit_fairness
from .fairness.comparison import compare_audits
from .fairness.groupings import DEFAULT_GROUPINGS
from .fairness.threshold import choose_threshold
from .leakage.leakage import Leakage, compare_leakage, probe_leakage
from .models.inference import embed
from .models.kinface import KinFace
from .report.checks import Origin
from .report.html import render_report
from .synthetic.tables import make_families

__all__ = [
    "DEFAULT_GROUPINGS",
    "FairnessAudit",
    "Inlp",
    "KinFace",
    "Leace",
    "Leakage",
    "Origin",
    "Transport",
    "audit_fairness",
    "choose_threshold",
    "compare_audits",
    "compare_leakage",
    "embed",
    "make_families",
    "match_pairs",
    "probe_leakage",
    "read_families",
    "read_pairs",
    "render_report",
    "sample_pairs",
    "score_pairs",
]
