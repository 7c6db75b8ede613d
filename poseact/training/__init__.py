"""Training a classifier from labelled poses: data set, augmentation, loop, evaluation."""
