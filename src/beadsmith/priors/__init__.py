"""Energy terms that are known before training: excluded volume and linear spline terms."""
