module github.com/zhongkong/zhongkong

go 1.26
