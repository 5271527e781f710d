"""What the catalogue states of one architecture, as constant linear laws of saliencies."""
