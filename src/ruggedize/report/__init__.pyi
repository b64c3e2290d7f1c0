from .compare import summary_rows as summary_rows
from .origins import origins as origins
from .page import write_report as write_report
from .paper import paper_table as paper_table
from .places import default_page as default_page
from .places import reject_other_ending as reject_other_ending
from .terminal import load_summary_rows as load_summary_rows
