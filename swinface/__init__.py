"""SwinFace: one Swin Transformer for face recognition, expression, age and 40 attributes (Qin et al., 2023).

The public names are listed in ``__init__.pyi``. Each is imported when it is first used, so that
``import swinface`` is quick and does not load torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
