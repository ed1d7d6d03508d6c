"""Times in words for readers, the same in tables, figures and on the terminal."""

NO_BREAK = "\N{NO-BREAK SPACE}"


def format_duration(seconds: float) -> str:
    """Return a time in a suitable unit with no-break spaces: "4.2 s", "3 min 05 s", "2 h 10 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if seconds < 59.95:
        text = f"{seconds:.1f} s"
    else:
        text = f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
    return text.replace(" ", NO_BREAK)


def rough_duration(seconds: float) -> str:
    """Return a time in minutes, and from two hours in hours, too: "1 min" at least, "3 h 05 min"."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
