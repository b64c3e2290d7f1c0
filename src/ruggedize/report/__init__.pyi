from .compare import load_summary_rows as load_summary_rows
from .compare import summary_rows as summary_rows
from .page import write_report as write_report
