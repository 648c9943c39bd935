"""The figures of the report: plotly's only home. Each function turns results into figures, or into none."""
