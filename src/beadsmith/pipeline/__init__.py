"""One run: the stages in order, their record, and how an interrupted run goes on."""
