"""Page: figures as they are shown, on 80 columns."""

COLUMNS = 80


def page(line: str) -> str:
    """Break a line of figures, between which are two spaces, so that none is torn apart."""
    lines = [""]
    for figure in line.split("  "):
        longer = f"{lines[-1]}  {figure}" if lines[-1] else figure
        if lines[-1].strip() and len(longer) > COLUMNS:
            lines.append(f"  {figure}")
        else:
            lines[-1] = longer
    return "\n".join(lines)
