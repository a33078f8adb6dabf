"""The commands of ``kinface``: one thin file each."""
