"""The experiments. An installed package finds them as ``importlib.resources.files("kinface.configs")``."""
