"""Kinship recognition from two faces, trained against race and gender, and the audit of for whom it fails.

The public names are listed in ``__init__.pyi``. Each is imported when it is first used, so that
``import kinface`` is quick and does not load torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
