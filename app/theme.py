"""The studio's look: one accent, quiet greys, local fonts, an eight-pixel rhythm; light and dark."""

import gradio as gr
from gradio.themes.utils import colors, sizes

FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """No web fonts: nothing is asked of another machine."""
    return gr.themes.Base(
        primary_hue=colors.teal, secondary_hue=colors.teal, neutral_hue=colors.slate, font=FONT, font_mono=MONO,
        spacing_size=sizes.spacing_md, radius_size=sizes.radius_md, text_size=sizes.text_md,
    ).set(
        body_background_fill="*neutral_50", body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_800", body_text_color_dark="*neutral_200",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white", block_background_fill_dark="*neutral_900",
        block_border_width="1px", block_border_color="*neutral_200", block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent", block_label_background_fill_dark="transparent",
        block_label_border_width="0px", block_label_text_color="*neutral_600", block_label_text_color_dark="*neutral_400",
        block_title_text_color="*neutral_700", block_title_text_color_dark="*neutral_300", block_title_text_weight="600",
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_400",
        input_background_fill="white", input_background_fill_dark="*neutral_900",
        input_border_color="*neutral_300", input_border_color_dark="*neutral_700",
        input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700", button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white", button_primary_text_color_dark="white",
        button_secondary_background_fill="white", button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300", button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px", button_large_text_size="*text_md", button_large_text_weight="600",
        button_large_padding="8px 16px", button_medium_text_weight="600", input_border_width="1px", shadow_drop="none", shadow_drop_lg="0 8px 24px rgba(15, 23, 42, .12)",
        link_text_color="*primary_700", link_text_color_dark="*primary_300",
    )
