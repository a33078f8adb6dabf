"""The commands of ``swinface``: one thin file each."""
