"""The words of a soft prompt as a table."""

from components.soft_prompt import soft_prompt_table


def test_every_vector_has_a_row_with_its_tokens_as_text():
    shown = soft_prompt_table("<run>", [[(" the", 0.912), ("<b>", 0.5)], [("\n", 0.1), ("${x}", -0.2)]])
    assert shown.count('<th scope="row">') == 2 and "&lt;run&gt;" in shown and "<b>" not in shown and "${" not in shown
    assert "<code> the</code>" in shown and "0.91" in shown and "<code>&#92;n</code>" in shown and "-0.20" in shown
