"""Configuration of the documentation: ``make docs``."""

import importlib.metadata
import inspect
import os
import re

from sphinx.util.inspect import stringify_signature

project, author, copyright = "kinface", "the kinface developers", "the kinface developers"
release = importlib.metadata.version("kinface")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.apidoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "api/*/modules.rst"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # public names have two places: the package, and the module that defines them

os.environ["SPHINX_APIDOC_OPTIONS"] = "members,show-inheritance"  # where modules share a page, apidoc reads no other
apidoc_modules = [
    {
        "path": f"../{package}",
        "destination": f"api/{package}",
        "separate_modules": False,
        "module_first": True,
        "max_depth": 2,
    }
    for package in ("kinface", "swinface")
]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # the text of the code, not what objects look like
# scikit-learn adds these methods; their text links to pages of scikit-learn's own documentation.
autodoc_default_options = {"exclude-members": "set_fit_request, set_transform_request, set_score_request"}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
strip_signature_backslash = True  # napoleon then keeps the last character of names such as mean_

html_theme = "furo"
html_title = "kinface"
html_static_path, html_css_files = ["_static"], ["wide.css"]


def show_constructor(app, what, name, obj, options, signature, returned):
    """Mixins and base classes with arguments of any kind hide the constructor's own."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    _, *own = inspect.signature(obj.__init__).parameters.values()
    shown = stringify_signature(inspect.Signature(own), show_annotation=False)
    return ("" if shown == signature else shown), None


def split_attributes(app, what, name, obj, options, lines):
    """Attributes that share a description get one entry each, as napoleon does it for parameters."""
    section, shown = "", []
    for place, line in enumerate(lines):
        if lines[place + 1 : place + 2] and set(lines[place + 1]) == {"-"}:
            section = line
        if section == "Attributes" and re.fullmatch(r"\w+(, \w+)+", line):
            end = next((at for at in range(place + 1, len(lines)) if not lines[at].startswith(" ")), len(lines))
            *first, line = line.split(", ")
            shown += [text for each in first for text in (each, *lines[place + 1 : end])]
        shown.append(line)
    lines[:] = shown


def setup(app):
    app.connect("autodoc-process-signature", show_constructor)
    app.connect("autodoc-process-docstring", split_attributes, priority=400)  # before napoleon
