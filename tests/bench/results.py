"""What was measured: pairs of runs, their ratios, and the goals judged by them."""
import statistics

def unit(metric):
    return "/s" if metric == "rate" else " µs"


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


class Case:
    """One thing measured on two sides, in pairs: runs["file"][i] with runs["vault"][i]."""

    def __init__(self, case_id, title, sides):
        self.id = case_id
        self.title = title
        self.runs = {side: [] for side in sides}

    def middle(self, side, metric):
        return statistics.median(run[metric] for run in self.runs[side])

    def ratios(self, metric, side, base):
        return [a[metric] / b[metric] for a, b in zip(self.runs[side], self.runs[base])
                if b[metric] > 0]

    def ratio(self, metric, side="vault", base="file"):
        return statistics.median(self.ratios(metric, side, base))

    def row(self, metric, side="vault", base="file"):
        ratios = self.ratios(metric, side, base)
        return (f"| {self.title}, {metric_name(metric)} | {statistics.median(ratios):.2f} "
                f"| {min(ratios):.2f}..{max(ratios):.2f} "
                f"| {number(self.middle(base, metric))}{unit(metric)} "
                f"| {number(self.middle(side, metric))}{unit(metric)} |")


def metric_name(metric):
    return {"rate": "per second", "cpu_us": "processor time", "p999_us": "p99.9",
            "total_cpu_us": "processor time of both sides"}.get(
                metric, metric.removesuffix("_us"))


# number, what, limit, whether more is better, [(case, metric, side, base)]; a base of
# None: the value itself in microseconds. The worst of several counts.
GOALS = (
    ("1", "nginx, 1 worker, TLS 1.3, P-256: handshake rate", 0.97, True,
     [("nginx/1/1.3/P-256", "rate", "vault", "file")]),
    ("2", "nginx, 2 workers, TLS 1.3, P-256: handshake rate", 0.95, True,
     [("nginx/2/1.3/P-256", "rate", "vault", "file")]),
    ("3", "nginx, 1 worker, TLS 1.3, RSA-2048: handshake rate", 0.96, True,
     [("nginx/1/1.3/RSA-2048", "rate", "vault", "file")]),
    ("3", "nginx, 2 workers, TLS 1.3, RSA-2048: handshake rate", 0.96, True,
     [("nginx/2/1.3/RSA-2048", "rate", "vault", "file")]),
    ("4", "nginx, 1 worker, TLS 1.2, P-256: handshake rate", 0.95, True,
     [("nginx/1/1.2/P-256", "rate", "vault", "file")]),
    ("5", "nginx, 1 worker, TLS 1.3, P-384, sustained: handshake rate", 1.6, True,
     [("sustained/P-384", "rate", "vault", "file")]),
    ("5", "nginx, 1 worker, TLS 1.3, P-384, short runs: handshake rate", 1.9, True,
     [("nginx/1/1.3/P-384", "rate", "vault", "file")]),
    ("6", "processor time per TLS 1.3 handshake, nginx and keyring, P-256", 1.08, False,
     [("nginx/1/1.3/P-256", "cpu_us", "vault", "file"),
      ("nginx/2/1.3/P-256", "cpu_us", "vault", "file")]),
    ("6", "processor time per TLS 1.3 handshake, nginx and keyring, RSA-2048", 1.04,
     False, [("nginx/1/1.3/RSA-2048", "cpu_us", "vault", "file"),
             ("nginx/2/1.3/RSA-2048", "cpu_us", "vault", "file")]),
    ("7", "signature through EVP, P-256: p50", 0.8, False,
     [("sign/P-256", "p50_us", "vault", "file")]),
    ("7", "signature through EVP, P-256: p99", 1.5, False,
     [("sign/P-256", "p99_us", "vault", "file")]),
    ("8", "signature through EVP, RSA-2048: p50", 1.04, False,
     [("sign/RSA-2048", "p50_us", "vault", "file")]),
    ("9", "against SoftHSM, nginx, RSA-2048: handshake rate", 1.45, True,
     [("peer/nginx/RSA-2048", "rate", "vault", "peer")]),
    ("9", "against SoftHSM, nginx, P-256: handshake rate", 1.2, True,
     [("peer/nginx/P-256", "rate", "vault", "peer")]),
    ("9", "against SoftHSM, signatures, P-256: rate", 3, True,
     [("peer/sign/P-256", "rate", "vault", "peer")]),
    ("9", "against SoftHSM, signatures, RSA-2048: rate", 1.4, True,
     [("peer/sign/RSA-2048", "rate", "vault", "peer")]),
    ("10", "key channel, echo on one CPU: p50 in µs", 15, False,
     [("echo", "p50_us", "vault", None)]),
    ("10", "key channel, echo on one CPU: processor time of both sides in µs", 16, False,
     [("echo", "cpu_us", "vault", None)]),
    ("11", "P-256 p99 while another user floods RSA-4096 and key generation", 3, False,
     [("flood/back-to-back", "p99_us", "flood", "quiet"),
      ("flood/paced", "p99_us", "flood", "quiet")]),
)


def judge(goal, cases):
    """(measured, met) of one goal; None when its cases were not run."""
    _, _, limit, is_more_better, sources = goal
    values = []
    for case_id, metric, side, base in sources:
        case = cases.get(case_id)
        if case is None:
            return None
        values.append(case.middle(side, metric) if base is None
                      else case.ratio(metric, side, base))
    worst = min(values) if is_more_better else max(values)
    return worst, worst >= limit if is_more_better else worst <= limit


def goal_rows(cases):
    yield "| | goal | limit | measured | |"
    yield "|---|---|---|---|---|"
    for goal in GOALS:
        judged = judge(goal, cases)
        sign = "≥" if goal[3] else "≤"
        if judged is not None:
            yield (f"| {goal[0]} | {goal[1]} | {sign} {goal[2]:g} | {judged[0]:.2f} | "
                   f"{'met' if judged[1] else 'missed'} |")


def as_json(cases):
    goals = []
    for goal in GOALS:
        judged = judge(goal, cases)
        if judged is not None:
            goals.append({"goal": goal[0], "what": goal[1], "limit": goal[2],
                          "measured": judged[0], "is_met": judged[1]})
    return {"cases": [{"id": c.id, "title": c.title, "runs": c.runs}
                      for c in cases.values()], "goals": goals}
