# Tests of the dialects and passes: RUN lines call lathe-opt and FileCheck. Started by CTest through lit.site.cfg.py.
import os

import lit.formats

config.name = "lathe-ir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.lathe_exec_root
config.substitutions += [
    ("lathe-opt", os.path.join(config.lathe_opt_dir, "lathe-opt")),
    ("FileCheck", config.filecheck),
]
