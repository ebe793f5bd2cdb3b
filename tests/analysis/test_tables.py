"""Tables for papers: what LaTeX and Markdown would make of them."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from analysis.tables import latex_table, latex_text, markdown_table

#: Every character that LaTeX reads as a command, and what a reader should see of it.
STRANGE = r"a_b 50% R&D #1 $5 {x} ~y ^z \n <0.001 p>1 a|b"


def as_printed(source):
    """What LaTeX prints of an escaped text: the inverse of the escaping, written for itself."""
    for command, character in {
        r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^",
        r"$\pm$": "±", "$-$": "-", "$<$": "<", "$>$": ">", "$|$": "|",
    }.items():  # fmt: skip
        source = source.replace(command, f"\0{character}")
    assert not re.search(r"(?<![\\\0])[&%$#_{}~^]", source), source
    return re.sub(r"\\([{}$&#%_])|\0(.)", r"\1\2", source)


def rows_of(source):
    """Cells of a tabular's rows, and the rows' number between the rules."""
    inside = source.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    blocks = [[re.split(r"(?<!\\)&", row) for row in block.split("\\\\\n")[:-1]] for block in inside.split(r"\midrule")]
    return [[[cell.strip() for cell in row] for row in block] for block in blocks]


def test_no_character_of_a_cell_is_a_command():
    assert as_printed(latex_text(STRANGE)) == STRANGE
    source = latex_table(pd.DataFrame({STRANGE[:7]: [STRANGE], "b": ["c & d"]}))
    heading, body = rows_of(source)
    assert [as_printed(cell) for cell in body[0]] == [STRANGE, "c & d"]
    assert as_printed(heading[0][0]) == STRANGE[:7]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("-3,969 [-4,456, -3,421]", "$-$3,969 [$-$4,456, $-$3,421]"),
        ("(-.5)", "($-$.5)"),
        ("dpp-2 and 1e-05", "dpp-2 and 1e-05"),
        ("arbitrage-free", "arbitrage-free"),
        ("2 ± 1", r"2 $\pm$ 1"),
    ],
)
def test_a_hyphen_before_a_number_is_a_minus_sign(text, printed):
    assert latex_text(text) == printed


def test_a_row_that_starts_with_a_bracket_is_no_argument_of_the_rule_above():
    source = latex_table(pd.DataFrame({"epsilons": ["[0.5, 1]", "*", "-"], "n": [1, 2, 3]}))
    assert "\n{}[0.5, 1] & 1" in source
    assert "\n{}* & 2" in source
    assert "\n-- & 3" in source


def test_a_caption_makes_the_table_float_and_notes_stand_below():
    table = pd.DataFrame({"a": ["x"], "b": ["1"]})
    bare = latex_table(table, notes=["50% of runs.\nTwo lines."])
    assert bare.startswith("% 50% of runs. Two lines.\n\\begin{tabular}{lr}")
    floating = latex_table(table, caption="Revenue, R&D", label="tab:revenue", notes=["50% of runs.", "More."])
    assert r"\caption{Revenue, R\&D}" in floating
    assert floating.index(r"\caption") < floating.index(r"\label{tab:revenue}") < floating.index(r"\toprule")
    assert r"{\footnotesize 50\% of runs. More.\par}" in floating.partition(r"\end{tabular}")[2]
    assert floating.count(r"\begin") == floating.count(r"\end") == 2


def test_wide_headings_are_broken_and_last_rows_set_apart():
    table = pd.DataFrame({"": ["a", "b", "Runs"], "Revenue (money per round)": ["1", "2", "60"]})
    heading, body, foot = rows_of(latex_table(table, foot=1))
    assert heading[0][1] == (r"\begin{tabular}[b]{@{}r@{}}{}Revenue\\{}(money per\\{}round)\end{tabular}")
    assert (len(body), foot) == (2, [["Runs", "60"]])


def test_markdown_keeps_bars_and_lines_within_their_cells():
    table = pd.DataFrame({"a|b": ["x\ny"], "n": ["1|2"]})
    assert markdown_table(table) == "| a\\|b | n |\n|---|---:|\n| x y | 1\\|2 |"
    assert markdown_table(table, align="ll").splitlines()[1] == "|---|---|"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_sets_the_tables(tmp_path):
    table = pd.DataFrame({"a_b and a long heading": [STRANGE, "[1, 2]", "*"], "b %": ["-3", "-", "2 ± 1"]})
    (tmp_path / "bare.tex").write_text(latex_table(table, notes=["50%"], foot=1), encoding="utf-8")
    floating = latex_table(table, caption=STRANGE, label="tab:x", notes=[STRANGE])
    (tmp_path / "floating.tex").write_text(floating, encoding="utf-8")
    page = (
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{bare}\\input{floating}\\end{document}"
    )
    (tmp_path / "page.tex").write_text(page)
    done = subprocess.run(["pdflatex", "-halt-on-error", "page"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
