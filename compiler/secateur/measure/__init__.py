"""Networks that repeat one operator, so that its time can be told from that of a run; and from their times to operators'."""

from secateur.measure.probes import Probe, probe_for
from secateur.measure.solve import Times, all_probes, solve

__all__ = ["Probe", "Times", "all_probes", "probe_for", "solve"]
