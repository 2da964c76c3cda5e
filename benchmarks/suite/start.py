"""What it costs to begin."""


class Import:
    version = "1"

    def timeraw_import(self):
        return "import lamella"

    def timeraw_import_numpy(self):
        return "import numpy"

    def peakmem_import(self):
        import lamella  # noqa: F401
