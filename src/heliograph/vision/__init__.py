"""Pure functions and values on pictures: headers, decoding, geometry, tasks, drawing."""
