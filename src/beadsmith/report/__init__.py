"""The verb `report`: one self-contained HTML page from the results in a run folder."""
