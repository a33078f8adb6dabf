"""Kinship recognition from two faces, trained against race and gender, and the audit of for whom it fails.

The public names are listed in ``__init__.pyi``. Each is imported when it is first used, so that
``import kinface`` is quick and does not load torch. What scripts written against earlier states of the code took from
here is still found here; new ones take it from its module.
"""

import lazy_loader

_find_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_find_earlier = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data.matching": ["match_pairs"],
        "data.pairs": ["score_pairs"],
        "data.sampling": ["sample_pairs"],
        "debias.inlp": ["Inlp"],
        "debias.leace": ["Leace"],
        "debias.splince": ["Splince"],
        "debias.transport": ["Transport"],
        "fairness.audit": ["audit_fairness"],
        "fairness.comparison": ["compare_audits"],
        "fairness.threshold": ["choose_threshold"],
        "leakage.leakage": ["compare_leakage", "probe_leakage"],
    },
)[0]


def __getattr__(name: str) -> object:
    return (_find_public if name in __all__ else _find_earlier)(name)
