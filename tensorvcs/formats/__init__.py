"""How files become samples and samples become files.

Terms
-----
format : a way to keep samples in files, found by name; other packages add theirs by entry point.
source : one opened file or folder; it plans its columns, then gives batches of samples.
plan : the columns of a source with their schemas, known before the first batch.
batch : some samples of the planned columns, small enough to hold.
skipped : what was there but could not be read, with the reason.
"""

from tensorvcs.formats.exporting import ExportReport, export_from
from tensorvcs.formats.importing import ImportReport, import_into

__all__ = ["ExportReport", "ImportReport", "export_from", "import_into"]
