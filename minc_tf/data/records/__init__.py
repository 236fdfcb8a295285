"""Files of records, TFRecord and ArrayRecord, and the images in them."""
