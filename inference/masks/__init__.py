"""From probabilities to masks: upsampling, thresholds, filters, run lengths."""
