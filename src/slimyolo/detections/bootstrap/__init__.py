"""How far a metric, or the difference of two detectors, would vary on other images: a bootstrap over the images."""
