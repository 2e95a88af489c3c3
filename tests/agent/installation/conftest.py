from ingestor_fixtures import bench, fleet, make_bench

__all__ = ["bench", "fleet", "make_bench"]
