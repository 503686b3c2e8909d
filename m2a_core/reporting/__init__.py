"""Pages and charts: templates, style sheet, SVG charts, films; for evaluate, replay, compare and demo."""
