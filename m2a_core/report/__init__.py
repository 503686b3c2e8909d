"""Reports without plotting libraries: charts as inline SVG."""
