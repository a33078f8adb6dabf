"""Configuration of the documentation: ``make docs``."""

import importlib.metadata

project, author, copyright = "kinface", "the kinface developers", "the kinface developers"
release = importlib.metadata.version("kinface")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.apidoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "api/*/modules.rst"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # public names have two places: the package, and the module that defines them

apidoc_modules = [
    {
        "path": f"../{package}",
        "destination": f"api/{package}",
        "separate_modules": True,
        "module_first": True,
        "max_depth": 2,
        "automodule_options": {"members", "show-inheritance"},
    }
    for package in ("kinface", "swinface")
]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
# scikit-learn adds these methods; their text links to pages of scikit-learn's own documentation.
autodoc_default_options = {"exclude-members": "set_fit_request, set_transform_request, set_score_request"}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
strip_signature_backslash = True  # napoleon then keeps the last character of names such as mean_

html_theme = "furo"
html_title = "kinface"
